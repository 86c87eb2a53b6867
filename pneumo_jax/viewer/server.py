"""The server of the viewer: three kinds of answers, to this machine alone."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from pneumo_jax.errors import InputError
from pneumo_jax.viewer.pictures import Pictures

__all__ = ['HOST', 'listening', 'make_app']

HOST = '127.0.0.1'

_HEADERS = {
    # Whatever a film is called, the page runs and loads nothing but its own files.
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # No other page, open in the same browser, reads or frames a film.
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    # Films of persons are not to stay in a browser's cache on disk.
    'Cache-Control': 'no-store',
}


def make_app(data: bytes, pictures: Pictures) -> Flask:
    """The application: the page, ``/data.json``, and ``/pictures/<index>.png``.

    A film is named by its index, never by a path or an id, and only GET and HEAD are answered, to
    requests that name this machine as their host: a page of another name whose address changes to
    this one (DNS rebinding) gets 400. A picture that cannot be shown is a 404 whose JSON has the
    ``reason``.

    Args:
        data: of ``films.page_data``.
        pictures: of the films.
    """
    app = Flask(__name__)
    app.config['TRUSTED_HOSTS'] = [HOST, 'localhost']

    @app.before_request
    def refuse_other_methods():
        if request.method not in ('GET', 'HEAD'):
            abort(405)

    @app.after_request
    def add_headers(response):
        response.headers.update(_HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def say_plainly(error):
        return Response(f'{error.code} {error.name}\n', error.code, mimetype='text/plain')

    @app.get('/')
    def page():
        return app.send_static_file('index.html')

    @app.get('/data.json')
    def films():
        return Response(data, mimetype='application/json')

    @app.get('/pictures/<int:index>.png')
    def picture(index):
        if index >= len(pictures):
            abort(404)
        try:
            return Response(pictures.png(index), mimetype='image/png')
        except InputError as error:
            return {'reason': str(error)}, 404

    return app


@contextlib.contextmanager
def listening(app: Flask, port: int) -> Iterator[BaseWSGIServer]:
    """A server that listens on ``HOST``, to be asked to ``serve_forever``; closed in the end.

    Args:
        app: what it serves, a thread for each request.
        port: 0 for a free one, which the server's ``port`` tells.

    Raises:
        InputError: if the port cannot be had.
    """
    try:
        # Own, because make_server ends the process where a port is in use.
        listener = socket.create_server((HOST, port))
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        reason = 'is in use' if in_use else f'cannot be had ({error})'
        raise InputError(
            f'--port={port} {reason}: give another, or leave it out for a free one'
        ) from error
    with listener:
        server = make_server(
            HOST, port, app, threaded=True, request_handler=_Silent, fd=listener.fileno()
        )
        with contextlib.closing(server.socket):
            yield server


class _Silent(WSGIRequestHandler):
    """Writes no line for each request."""

    def log(self, type, message, *args):
        pass
