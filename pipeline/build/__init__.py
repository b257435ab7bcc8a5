"""The main job: from a source file to a bundle."""
