# Varnish as the edge is used: a cache in front of the same origin. @NAME@ is filled in by bench/servers.py.
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN@";
}

sub vcl_recv {
    if (req.url ~ "^/pass/") {
        return (pass);
    }
    # With either of these, the built-in VCL would pass.
    unset req.http.Cookie;
    unset req.http.Authorization;
}
