"""The bundle on disk: GUIDs, metas, UnityYAML, the folder that goes into Unity, and how it gets there."""
