"""What may be done with a request and a response, by the manifest and by HTTP. Pure, as `http` is."""
