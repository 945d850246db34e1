"""What waits for the commit of what was written: purges, and messages of channels."""

from collections.abc import Callable, Mapping

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError


def in_transaction() -> bool:
    """Whether any connection of this thread is in a transaction, or may be."""
    used = connections.all(initialized_only=True)
    return any(connection.in_atomic_block or _by_hand(connection) for connection in used)


def commits_by_hand() -> bool:
    """Whether a connection of this thread has autocommit off, so that nothing says when it commits."""
    return any(map(_by_hand, connections.all(initialized_only=True)))


def require_autocommit() -> None:
    """Raises TransactionManagementError where a connection of this thread has autocommit off."""
    if commits_by_hand():
        raise TransactionManagementError(
            "autocommit is off, so nothing says when this is committed: "
            "call it after the commit, when autocommit is on again"
        )


def _by_hand(connection: BaseDatabaseWrapper) -> bool:
    # Not get_autocommit(), which opens a closed connection: that holds no transaction.
    if connection.connection is None or connection.autocommit:
        return False
    # Autocommit is off inside every block. One that began so does not commit at its end.
    return not connection.in_atomic_block or not connection.commit_on_exit


def after_commit(action: Callable[[], None], *, at_once: bool = False) -> None:
    """Runs `action` when what was written is committed: now, or after each transaction that is open.

    With several databases it runs now as well where one is outside a transaction, and with `at_once` in any case.
    A transaction that is rolled back, or a part of one, drops its run. Every action of a transaction is tried, whatever
    becomes of the others. Raises TransactionManagementError where autocommit is off, unless `at_once`.
    """
    if not at_once:
        require_autocommit()
    used = connections.all(initialized_only=True)
    open_ = [connection for connection in used if connection.in_atomic_block]
    # First, since the action may raise where it runs now, and the transaction be committed nevertheless.
    for connection in open_:
        _on_commit(connection, action)
    if at_once or len(open_) < len(used) or not open_:
        action()


class _Once:
    """An action that is tried once, and whose error is raised where it is asked for."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._tried = False
        self._error: Exception | None = None

    def attempt(self) -> None:
        if self._tried:
            return
        self._tried = True
        try:
            self._action()
        except Exception as error:
            self._error = error

    def conclude(self) -> None:
        self.attempt()
        if self._error is not None:
            raise self._error


def _on_commit(connection: BaseDatabaseWrapper, action: Callable[[], None]) -> None:
    """Two hooks: one ahead of the application's, which tries and does not raise, and one in its turn, which raises.

    Django runs hooks in order, and one that raises drops all behind it, `robust` or not: only what stands ahead is sure
    to run. Django itself registers both, with the savepoints of this moment, so that a rollback drops both or neither.
    """
    once = _Once(action)
    # A TestCase never commits, and its captureOnCommitCallbacks() takes the hooks at the end of the list.
    if not _of_test_case(connection):
        connection.on_commit(once.attempt)
        connection.run_on_commit.insert(0, connection.run_on_commit.pop())
    connection.on_commit(once.conclude)


def _of_test_case(connection: BaseDatabaseWrapper) -> bool:
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def hooks() -> dict[str, int]:
    """How many hooks wait for the commit of each database."""
    return {connection.alias: len(connection.run_on_commit) for connection in connections.all(initialized_only=True)}


def conclude_for_test_case(before: Mapping[str, int]) -> None:
    """Runs the actions that have come since `hooks()` and wait for a TestCase's transaction, which never commits. The
    application's own hooks are left alone."""
    for connection in connections.all(initialized_only=True):
        if not _of_test_case(connection):
            continue
        for entry in connection.run_on_commit[before.get(connection.alias, 0) :]:
            if isinstance(action := getattr(entry[1], "__self__", None), _Once):
                action.conclude()


def after_all_commits(action: Callable[[], None]) -> None:
    """Runs `action` once, when all transactions that are open are committed: for what must not happen twice, or early.

    When one of them is rolled back it does not run. What it raises is logged if there was a transaction, since other
    hooks wait for the same commit. Raises TransactionManagementError where autocommit is off.
    """
    require_autocommit()
    open_ = [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]
    left = len(open_)

    def committed() -> None:
        nonlocal left
        left -= 1
        if not left:
            action()

    for connection in open_:
        connection.on_commit(committed, robust=True)
    if not open_:
        action()
