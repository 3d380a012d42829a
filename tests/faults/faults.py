"""All faults by name."""

from tests.faults import cameras, clocks, databases, disks, kills, rivals, servers
from tests.faults.fault import Fault

FAULTS: dict[str, Fault] = {
    "kill scoring": kills.scoring,
    "kill watching": kills.watching,
    "kill adaptation": kills.adaptation,
    "kill export": kills.export,
    "kill promotion": kills.promotion,
    "kill meta-training": kills.meta_training,
    "kill migration": kills.migration,
    "disk full": disks.full,
    "temporary folder full": disks.temporary_full,
    "file size limited": disks.limited_files,
    "folder not writable": disks.not_writable,
    "file replaced while read": cameras.replaced_while_read,
    "slow camera": cameras.slow,
    "reused names": cameras.reused_names,
    "clock jumps": clocks.jumps,
    "database locked": databases.locked,
    "database away": databases.away,
    "Prefect server away": servers.prefect_away,
    "two scorings": rivals.two_scorings,
    "two adaptations": rivals.two_adaptations,
    "two promotions": rivals.two_promotions,
}
