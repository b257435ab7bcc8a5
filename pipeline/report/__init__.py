"""Render reports and verdicts as text, Markdown, HTML, JSON, SARIF, JUnit and GitHub annotations."""
