"""From a window of time to acknowledged, committed records: list → fetch → deliver.

* ``lanes`` say which windows come next; ``list`` turns a window into the entries that are new in it;
* ``fetch`` asks for their details, many at a time, in the order of the list;
* ``deliver`` takes a batch: identities, mapping, export, commit;
* ``pipeline`` joins the three with bounded queues.
"""
