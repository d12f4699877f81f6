"""Programs a benchmark runs in processes of their own: a recording a line in, its transcript a line out.

Each side is alone in its process so that no library's threads, environment or memory touch another's.
A job is a JSON object with `audio` and what else the side takes; an answer is one as `contest` reads it.
"""
