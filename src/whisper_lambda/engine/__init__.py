"""The engine room: one chunk of samples goes in, segments that read well and can be trusted come out.

features -> encode -> decode (policy) -> align -> segments. Only `ctranslate2.py` knows the library.
"""
