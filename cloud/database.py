"""The database: engine, transactions, and the only commit of the hub.

Persist, then act, then publish: a verb registers what is to happen afterwards with
`after_commit`, and that runs only once the transaction is safely in the database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, event, text
from sqlmodel import Session, create_engine

from cloud.errors import StorageError
from protocol.topics import Topic

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
_AFTER_COMMIT = "after_commit"
_PUBLISHER = "publisher"
_BEGIN = "argosy_begin"


class Publisher(Protocol):
    """Whatever carries a payload to the broker; whether it is retained, the topic's kind says."""

    def publish(self, topic: Topic, payload: bytes) -> None: ...


class Database:
    """One database of the hub.

    `publisher` is set by the application when the broker's link stands; without one,
    `publish_after_commit` publishes nothing, as states are published anew on connecting.
    """

    def __init__(
        self, url: str, *, busy_timeout_ms: int = 10_000, connections_max: int = 40
    ) -> None:
        self.url = url
        self.publisher: Publisher | None = None
        self._engine = _engine(url, busy_timeout_ms, connections_max)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose work is committed at the end, or undone at any exception."""
        with Session(self._engine, expire_on_commit=False) as session:
            session.info[_PUBLISHER] = self.publisher
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise
            hooks: list[Callable[[], None]] = session.info.pop(_AFTER_COMMIT, [])
        for hook in hooks:
            _run(hook)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment of the database and never waits for writers."""
        with Session(self._engine, expire_on_commit=False, autoflush=False) as session:
            session.connection(execution_options={_BEGIN: "BEGIN"})
            yield session

    def migrate(self) -> None:
        """Bring the schema up to the newest revision."""
        with self._engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def ping(self) -> None:
        """Raises StorageError when the database does not answer."""
        try:
            with self.reading() as session:
                session.connection().execute(text("SELECT 1"))
        except Exception as error:
            raise StorageError("the database does not answer", "see the hub's log") from error

    @property
    def engine(self) -> Engine:
        return self._engine

    def close(self) -> None:
        self._engine.dispose()


def after_commit(session: Session, hook: Callable[[], None]) -> None:
    """Run `hook` when, and only when, the session's transaction has been committed.

    A hook that fails is logged and does not undo what was stored.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(hook)


def publisher_of(session: Session) -> Publisher | None:
    """Who publishes for the session's database; None while there is no link to a broker."""
    publisher: Publisher | None = session.info.get(_PUBLISHER)
    return publisher


def publish_after_commit(session: Session, topic: Topic, payload: bytes) -> None:
    """Publish `payload` once the session's transaction has been committed."""
    publisher = publisher_of(session)
    if publisher is not None:
        after_commit(session, lambda: publisher.publish(topic, payload))


def _run(hook: Callable[[], None]) -> None:
    try:
        hook()
    except Exception:  # what is stored stays stored
        log.exception("what should follow a commit failed")


def _engine(url: str, busy_timeout_ms: int, connections_max: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections_max,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": busy_timeout_ms / 1000},
    )

    def on_connect(connection: Any, _: Any) -> None:
        # Transactions are begun below, by hand: the driver would begin them too late, and
        # a reader that turns writer halfway fails where another wrote in between.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # what is acknowledged survives a power cut
            "foreign_keys=ON",
            f"busy_timeout={busy_timeout_ms}",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: Connection) -> None:
        begin = connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE")
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
