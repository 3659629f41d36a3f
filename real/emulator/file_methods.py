"""Programs, recorded paths and tables of points of the emulated controller by wire name: it keeps no files.

What loads, starts, records or takes one answers 14, execution failed, and nothing moves; which code the controller has
for a file that is not there is documented of downloads alone. Arguments: the vendor's Python SDK 2.0.6 to 2.2.6.
"""

from real.emulator.method_table import Method, Table
from real.fairino.fault_codes import Code

DOWNLOADS = {"FileDownload": 2, "PointTableDownload": 1}
ARCHIVES = ("RbLogDownloadPrepare", "AllDataSourceDownloadPrepare", "DataPackageDownloadPrepare")
ARCHIVES_SINCE = (3, 8, 1)
NOT_FOUND = -1  # the vendor's SDK reads it so
LOOK_AHEAD_SINCE, LOOK_AHEAD_FLAG_SINCE, TO_TAUGHT_START_SINCE = (3, 8, 0), (3, 8, 5), (3, 9, 4)
ACTIONS = {
    "ProgramLoad": 1, "ProgramRun": 0, "ProgramPause": 0, "ProgramResume": 0, "LoadDefaultProgConfig": 2,
    "LoadTrajectoryJ": 3, "MoveTrajectoryJ": 0, "LoadTPD": 1, "MoveTPD": 3, "SetTPDDelete": 1,
    "PointTableSwitch": 1, "FileDelete": 2, "SetTPDStart": 5, "FileUpload": 2, "PointTableUpload": 1,
    "PointTableUpdateLua": 1,
}  # fmt: skip
QUERIES = {
    "GetTrajectoryStartPose": (1, 6), "GetTPDStartPose": (1, 6), "GetTrajectoryPointNum": (0, 1),
    "GetRobotTeachingPoint": (1, 1), "ComputeFileMD5": (1, 1), "LuaUpLoadUpdate": (1, 1),
}  # fmt: skip


def file_methods(version: tuple[int, int, int]) -> Table:
    """Return the methods; queries as name -> arguments, values."""
    actions = dict(ACTIONS)
    if version >= ARCHIVES_SINCE:
        actions |= dict.fromkeys(ARCHIVES, 0)
    if version >= LOOK_AHEAD_SINCE:
        actions |= {"LoadTrajectoryLA": 9 if version >= LOOK_AHEAD_FLAG_SINCE else 8, "MoveTrajectoryLA": 0}
    if version >= TO_TAUGHT_START_SINCE:
        actions["MoveToTPDStart"] = 3
    return {
        **{name: Method(count, _is_missing) for name, count in actions.items()},
        **{name: Method(count, _is_missing, values) for name, (count, values) in QUERIES.items()},
        **{name: Method(count, lambda *_: NOT_FOUND) for name, count in DOWNLOADS.items()},
        **{name: Method(0, lambda: Code.OK) for name in ("ProgramStop", "SetWebTPDStop")},
        "GetLoadedProgram": Method(0, lambda: [""], 1),
        "GetCurrentLine": Method(0, lambda: [0], 1),
        "GetLuaList": Method(0, lambda: [0, ""], 2),
    }


def _is_missing(*_: object) -> int:
    return Code.FAILED
