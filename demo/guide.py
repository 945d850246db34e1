"""What to try by hand once the story is told."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from demo.processes import HOST
from demo.shop.stock import PASSWORD

GUIDE = """\
  The shop, through the edge   {shop}/   sign in as user5, or user1 (staff); the password is {password}
  Django, without the edge     {origin}/
  The edge's admin listener    {admin}/
  Logs, database and token     {state}

  Read, twice, and look at Cache-Status:
    curl -i '{shop}/api/mizan/ctx/user/?user_id=5'
    curl -i {shop}/profile/5/

  Sign in and rename, then read again:
    jar={jar}
    csrf() {{ awk '$6 == "csrftoken" {{ print $7 }}' "$jar"; }}
    curl -s -o /dev/null -c "$jar" {shop}/accounts/login/
    curl -s -o /dev/null -b "$jar" -c "$jar" -H "X-CSRFToken: $(csrf)" \\
      -d 'username=user5&password={password}' {shop}/accounts/login/
    curl -i -b "$jar" -H "X-CSRFToken: $(csrf)" -H 'Content-Type: application/json' \\
      -d '{{"fn": "rename_user", "args": {{"user_id": 5, "name": "Noor Ito"}}}}' {shop}/api/mizan/call/

  Purge by hand, then read again:
    curl -i -H "Authorization: Bearer $(cat {token})" -H 'Content-Type: application/json' \\
      -d '{{"scopes": ["user;user_id=5"]}}' {admin}/purge
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the running demo is: ports on the loopback interface, and its directory."""

    shop_port: int
    origin_port: int
    admin_port: int
    state: Path

    @property
    def token_file(self) -> Path:
        return self.state / "edge" / "admin.token"


def guide(places: Places) -> str:
    """URLs and commands, ready to be pasted into a shell."""
    return GUIDE.format(
        shop=f"http://{HOST}:{places.shop_port}",
        origin=f"http://{HOST}:{places.origin_port}",
        admin=f"http://{HOST}:{places.admin_port}",
        state=places.state,
        jar=shlex.quote(str(places.state / "cookies.txt")),
        token=shlex.quote(str(places.token_file)),
        password=PASSWORD,
    )
