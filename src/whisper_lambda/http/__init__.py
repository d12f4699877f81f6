"""The HTTP room: requests in, the line's answers out. The only room that is asynchronous.

`app.create_app` builds the application; a server, a test and Lambda run the same one.
"""
