"""End-to-end stories on a real cluster: `python3 -m dev.e2e [PATTERN]`.

Every `story_*.py` here is a unittest module whose classes extend `base.StoryCase`. The cluster,
the images and the S3 server are there when a story starts; a story makes its own namespaces and
removes them. A failing story prints what the cluster looked like.
"""
