"""The engine: lessons in Markdown are parsed, tangled, run, recorded, woven, exported and tested."""
