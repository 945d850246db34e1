"""The Mizan protocol, framework-free.

errors      the root of every error; leaves are where they are raised
canonical   one text for each parameter value
scopes      what a mutation invalidates, and its grammar on the wire; fields names the headers that carry it
keys, seal  under which key an entry lies, and the proof that we wrote it
mwt         the token that names a signed-in user's partition
manifest    what depends on what, as the origin exports it; patterns tells how it spells URLs
registry    `@client`: where an application declares it; signature and route read what it says
scoping     which scopes a read depends on, and which a mutation purges
merging     where clients may put what a mutation returned; fitting tells which types may stand for which
problems    what is wrong with the declarations as a whole
compiling   from the registry to the manifest, and what scopes are made of; effects tells what purges what
credentials what tells an application who is asking
view_urls   URLs of views that are not declared
purge       what is purged, and by whom; resolve makes that of scopes as somebody spelled them
store       entries, indexes, fences and purges in Redis, for sync and asyncio callers alike
"""

__version__ = "0.1.0"
