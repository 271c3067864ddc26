"""`/_sandbox`: look at what was asked and sent, and switch faults, from another process on this machine."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import attrs
from werkzeug.wrappers import Request, Response

from .deliveries import Delivery, Sender
from .faults import Faults, UnknownFault
from .served import Record
from .watching import Watch

ADDRESS = "/_sandbox"
_OFFERED = (
    "there are: GET, DELETE requests; GET, DELETE faults; PUT, DELETE faults/NAME; GET, DELETE deliveries; POST flush"
)
_PATIENCE = 30.0


@attrs.frozen
class Control:
    """Answers requests below `/_sandbox`; they are not recorded, ask for no credential, and know no faults."""

    record: Record
    faults: Faults
    sender: Sender
    events: Watch

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        if not (request.remote_addr or "").startswith(("127.", "::1", "::ffff:127.")):
            return _json({"error": "only from this machine"}, 403)
        what, _, name = unquote(request.path.removeprefix(ADDRESS + "/")).partition("/")
        try:
            match request.method, what, name:
                case "GET", "requests", "":
                    return _json([attrs.asdict(served) for served in self.record.all()])
                case "DELETE", "requests", "":
                    self.record.clear()
                    return _json([])
                case "GET", "deliveries", "":
                    return _json([_told(delivery) for delivery in self.sender.all()])
                case "DELETE", "deliveries", "":
                    self.sender.clear()
                    return _json([])
                case "POST", "flush", "":
                    return self._flush()
                case _, "faults", _:
                    return self._faults(request, name)
        except UnknownFault as wrong:
            return _json({"error": str(wrong)}, 400)
        return _json({"error": _OFFERED}, 404)

    def _flush(self) -> Response:
        self.events.look()
        if self.sender.flush(_PATIENCE):
            return _json({})
        return _json({"error": f"still busy after {_PATIENCE:.0f} seconds"}, 504)

    def _faults(self, request: Request, name: str) -> Response:
        if request.method == "PUT" and name:
            self.faults.set(name, request.get_data(as_text=True).strip() or "1")
        elif request.method == "DELETE":
            self.faults.clear(name or None)
        elif request.method != "GET" or name:
            return _json({"error": _OFFERED}, 404)
        return _json(self.faults.all())


def _told(delivery: Delivery) -> dict[str, Any]:
    return {**attrs.asdict(delivery), "body": json.loads(delivery.body)}


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json")
