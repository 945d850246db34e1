"""A checker of exactness: two edges over one Redis, readers and writers with histories, and faults by a seed.

model    what a read may show: pure
origin   a site that reads its versions first and answers late
fleet    the processes: Redis, two edges of two workers, a link between each of them and Redis
hosts    network namespaces, one for each edge
ways     that link where Redis is a cluster: one to each node
faults   what goes wrong, and the schedule that follows from a seed
checker  drives all of them, and counts
directed for each mechanism a run that finds what is stale without it
ablated  what switches a mechanism off, and steps clocks, in the processes of an edge

python -m tests.exact --seconds 60 --seed 7
python -m tests.exact --without lease
"""
