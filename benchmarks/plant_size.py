"""What a line and an image take of disk: a bundle, a row in SQLite and in PostgreSQL, a flagged image's picture.

    python -m benchmarks.plant_size [--rows 20000] [--write]

A memory bank of 4 good images at 256 px scores generated ones with their pictures. Their rows are then stored again as
those of as many images as asked, a fiftieth of them flagged, under new contents and paths. The rows' room is that
of the tables of results and regions with their indexes. How fast images that have a row already are passed over comes
from scoring the folder once more. Needs Debian's postgresql.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import sqlalchemy

from benchmarks.deployments import LINE, DeployedLine, adapt_bank
from benchmarks.many_images import write_images
from benchmarks.study import Study, options
from benchmarks.tables import table
from deploy.results.records import NewResult
from deploy.results.store import ResultStore
from flows.score import job
from flows.score.request import ScoreRequest
from pipeline.calibration import Decision
from pipeline.settings import load_settings
from tests.deploy.results.postgres_server import PostgresServer

GOOD = 200
SIDE = 1000  # of the camera's images, pixels
FLAGGED = 50  # one image in so many
_SIZE_IN_POSTGRES = "SELECT pg_total_relation_size('results') + pg_total_relation_size('regions')"


def main() -> None:
    """Print the figures, and with --write put them into the page."""
    parser = options(__doc__, lines=False)
    parser.add_argument("--rows", type=int, default=20_000)
    study = Study(__file__, parser)
    with tempfile.TemporaryDirectory(prefix="linewise-plant-size-") as scratch:
        root = Path(scratch)
        write_images(root / "camera", GOOD, SIDE)
        deployed = DeployedLine(root / "camera", load_settings(root / "home"))
        adapt_bank(deployed.images, deployed.settings, defects=0)
        request = ScoreRequest.asked(line=LINE, images=str(deployed.images), device="cpu")
        job.run(request, deployed.settings)
        began = time.process_time()
        again = job.run(request, deployed.settings)
        passed_over = (time.process_time() - began) / again.summary.counts.skipped
        bundle = sum(path.stat().st_size for path in deployed.deployment.bundle.path.rglob("*") if path.is_file())
        pictures = [path.stat().st_size for path in (root / "home" / "overlays").rglob("*.jpg")]
        many = study.asked.rows
        store_again(f"sqlite:///{root / 'rows.sqlite'}", deployed, many)
        in_sqlite = (root / "rows.sqlite").stat().st_size / many
        with PostgresServer(root) as server:
            url = server.url.replace("postgresql:", "postgresql+psycopg:")
            store_again(url, deployed, many)
            in_postgres = number_of(url, _SIZE_IN_POSTGRES) / many
    rows = [
        ["a line's bundle", f"{bundle / 1e6:.2f} MB"],
        ["a row in SQLite", f"{in_sqlite:.0f} bytes"],
        ["a row in PostgreSQL", f"{in_postgres:.0f} bytes"],
        ["a flagged image's picture", f"{sum(pictures) / len(pictures) / 1e3:.0f} kB"],
        ["CPU time of an image that has a row", f"{1e3 * passed_over:.1f} ms"],
    ]
    study.publish(table(["what", "takes"], rows))


def store_again(database: str, deployed: DeployedLine, count: int) -> None:
    """Store the home's rows as those of so many other images, as a plant's folders might call them."""
    with ResultStore(deployed.settings.database) as known:
        rows = [
            NewResult(
                **{name: getattr(row, name) for name in NewResult._fields if name not in ("regions", "message")},
                regions=known.regions(row.bundle_id, row.image_sha256 or ""),
            )
            for row in known.query(limit=None)
        ]
    with ResultStore(database) as store:
        run_id = store.begin_run(deployed.deployment.bundle, "again", device="cpu", workers=1)
        store.add(others(rows, count, run_id))


def others(rows: list[NewResult], count: int, run_id: int) -> Iterator[NewResult]:
    """So many rows of new contents; one in `FLAGGED` is of a flagged image."""
    flagged = cycle([row for row in rows if row.decision is not Decision.PASS])
    passed = cycle([row for row in rows if row.decision is Decision.PASS])
    for number in range(count):
        row = next(passed if number % FLAGGED else flagged)
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        path = f"/var/lib/linewise/images/{LINE}/2026-11-30/camera-07/{number:08}.jpg"
        yield row._replace(run_id=run_id, image_sha256=sha256, image_path=path)


def number_of(url: str, query: str) -> int:
    """What a query of one number answers."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        number = int(connection.execute(sqlalchemy.text(query)).scalar_one())
    engine.dispose()
    return number


if __name__ == "__main__":
    main()
