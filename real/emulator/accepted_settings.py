"""Settings of the vendor's controllers that have no effect on the emulated arm, and the queries that read them back.

Each is checked for its number of arguments by release, answered with 0 and logged once as without effect. What a
controller answers where the equipment is missing is not documented; what needs the force sensor answers 59, but for
switching it on, its zero and its frame where the emulator has one: its readings are in the state frame. Nothing here
moves the arm: what would (tracking, weaving, searching) is not served (`vendor_methods`).
Names and counts: the vendor's Python SDK 2.0.6 (V3.7.6) to 2.2.6 (V3.9.6).
"""

import itertools
import logging
import math
from collections.abc import Callable

from real.emulator.method_table import Method, Table
from real.fairino.fault_codes import Code
from real.fairino.protocol import OLDEST_RELEASE

_log = logging.getLogger(__name__)

# NAME:[RELEASE=]COUNT[,RELEASE=COUNT ...]: how many arguments since which release, the oldest where none is named.
_OF_THE_CONTROLLER = """
AccSmoothEnd:3.8.1=1 AccSmoothStart:3.8.1=1 AngularSpeedEnd:0 AngularSpeedStart:1
CustomCollisionDetectionEnd:3.8.0=0 CustomCollisionDetectionStart:3.8.0=4 FrictionCompensationOnOff:1
JointOverSpeedProtectEnd:0 JointOverSpeedProtectStart:2 JointSensitivityEnable:3.8.7=1 LinArcFIRPlanningEnd:3.7.8=0
LinArcFIRPlanningStart:3.7.8=4 LoadIdentifyDynFilterInit:0 LoadIdentifyDynVarInit:0 PtpFIRPlanningEnd:3.7.8=0
PtpFIRPlanningStart:3.7.8=1,3.8.2=2 SetAdmittanceParams:3.9.0=1 SetAxisDHParaConfig:9
SetCollisionDetectionMethod:1,3.8.2=2 SetFrictionValue_ceiling:1 SetFrictionValue_freedom:1 SetFrictionValue_level:1
SetFrictionValue_wall:1 SetOaccScale:1 SetOutputResetAxleAO:1,3.9.3=2 SetOutputResetAxleDO:1,3.9.3=2
SetOutputResetCtlBoxAO:1,3.9.3=2 SetOutputResetCtlBoxDO:1,3.9.3=2 SetOutputResetExtAO:1,3.9.3=2
SetOutputResetExtDO:1,3.9.3=2 SetOutputResetSmartToolDO:1,3.9.3=2 SetPowerLimit:2 SetRobotInstallAngle:2
SetRobotInstallPos:1 SetRobotStopOnComDisc:3.9.4=1 SetStaticCollisionOnOff:1 SetSysVarValue:2 SetTPDParam:5
SetTorqueDetectionSwitch:3.8.6=1 SetTrajectoryJForceFx:1 SetTrajectoryJForceFy:1 SetTrajectoryJForceTorque:1
SetTrajectoryJSpeed:1,3.9.5=2 SetTrajectoryJTorqueTx:1 SetUserLEDColor:3.9.4=3 SetVelFeedForwardRatio:3.8.7=1
SetVelReducePara:3.9.4=1 SetWideBoxTempFanMonitorParam:3.8.3=2 SingularAvoidEnd:0 SingularAvoidStart:4
SlavePortErrCounterClear:3.8.7=1
"""
_OF_EQUIPMENT = """
ARCEnd:3 ARCStart:3 ArcWeldTraceAIChannelCurrent:3.8.2=1 ArcWeldTraceAIChannelVoltage:3.8.2=1
ArcWeldTraceControl:11,3.8.0=13 ArcWeldTraceCurrentPara:3.8.2=4 ArcWeldTraceExtAIChannelConfig:1
ArcWeldTraceReplayEnd:0 ArcWeldTraceReplayStart:0 ArcWeldTraceVoltagePara:3.8.2=4 AuxServoClearError:1
AuxServoEnable:2 AuxServoHoming:5 AuxServoSetAcc:2 AuxServoSetControlMode:2 AuxServoSetEmergencyStopAcc:2
AuxServoSetParam:6 AuxServoSetStatusID:1 AuxServoSetTargetPos:4 AuxServoSetTargetSpeed:3 AuxServoSetTargetTorque:2
AxleSensorActivate:1 AxleSensorConfig:4 AxleSensorRegWrite:7 ConveyorCatchPointComp:1 ConveyorIODetect:1
ConveyorPointARecord:0 ConveyorPointBRecord:0 ConveyorPointIORecord:0 ConveyorRefPointRecord:0
ConveyorSetParam:1,3.8.1=4 ConveyorStartEnd:1 CustomWeaveSetPara:3.8.6=1 ExtAxisActiveECoordSys:9
ExtAxisMoveJ:6,3.8.4=7 ExtAxisParamConfig:13 ExtAxisServoOn:2 ExtAxisSetHoming:4 ExtAxisSetRefPoint:1 ExtAxisStartJog:6
ExtDevLoadUDPDriver:0 ExtDevSetUDPComParam:9,3.8.2=10 ExtDevUDPClientComClose:0 ExtDevUDPClientComReset:0
ExtDevUnloadUDPDriver:0 FT_SetConfig:4 FieldBusSlaveWriteAO:3.8.5=3 FieldBusSlaveWriteDO:3.8.5=3 FocusEnd:3.8.4=0
FocusStart:3.8.4=5 LaserTrackingLaserOff:3.7.8=0 LaserTrackingLaserOn:3.7.8=1 LaserTrackingLaserOnOff:3.8.6=2
LaserTrackingSensorConfig:3.8.6=2 LaserTrackingSensorSamplePeriod:3.8.6=1 LoadPosSensorDriver:3.8.6=1 MoveAOStart:4
MoveAOStop:0 MoveToolAOStart:4 MoveToolAOStop:0 ResetLaserWeldingErr:3.9.6=2 SetAirControlExtDoNum:1
SetArcDoneExtDiNum:1 SetArcStartExtDoNum:1 SetAspirated:2 SetAuxAIFilterTime:2 SetAuxAO:3 SetAuxDIFilterTime:1
SetAuxDO:4 SetAxleCommunicationParam:7 SetAxleFileType:1 SetAxleGenComEnable:3.9.4=1 SetAxleLuaEnable:1
SetAxleLuaEnableDeviceType:3 SetAxleLuaGripperFunc:2 SetDIConfig:3.9.4=1 SetDIConfigLevel:3.9.4=1
SetDOConfig:3.9.4=1 SetDOConfigLevel:3.9.4=1 SetExAxisCmdDoneTime:3.9.4=1 SetExAxisRobotPlan:3.8.5=1
SetExDevProtocol:1 SetExToolCoord:3 SetExToolList:3 SetExtDIWeldBreakOffRecover:2 SetFocusPosition:3.8.4=3
SetForceSensorDragAutoFlag:1 SetForceSensorPayload:1 SetForceSensorPayloadCog:3 SetForwardWireFeed:2
SetLaserWeldingEnable:3.9.6=2 SetLaserWeldingEnableExtDoNum:3.9.6=1 SetLaserWeldingErrResetExtDoNum:3.9.6=1
SetLaserWeldingErrStateExtDiNum:3.9.6=1 SetLaserWeldingParam:3.9.6=7 SetLaserWeldingRunningStateExtDiNum:3.9.6=1
SetLaserWeldingStartEnd:3.9.6=3 SetLaserWeldingStartExtDoNum:3.9.6=1 SetRecoverAxleLuaErr:1 SetReverseWireFeed:2
SetRobotPosToAxis:1 SetStandardDILevel:3.9.4=1 SetStandardDOLevel:3.9.4=1 SetSuckerCtrl:3.8.5=3
SetToolDIConfig:3.9.4=1 SetToolDIConfigLevel:3.9.4=1 SetWeldMachineCtrlMode:1 SetWeldMachineCtrlModeExtDoNum:1
SetWeldReadyExtDiNum:1 SetWireForwardFeedExtDoNum:1 SetWireReverseFeedExtDoNum:1 SetWireSearchExtDIONum:2
TractorEnable:1 UnLoadPosSensorDriver:3.8.6=0 WeaveOnlineSetPara:9 WeaveSetPara:13,3.8.2=14
WeldingAbortWeldAfterBreakOff:3.7.8=0 WeldingSetCheckArcInterruptionParam:3.7.8=2 WeldingSetCurrent:4
WeldingSetCurrentGradualChangeEnd:3.8.2=0 WeldingSetCurrentGradualChangeStart:3.8.2=5 WeldingSetCurrentRelation:5
WeldingSetProcessParam:9 WeldingSetReWeldAfterBreakOffParam:3.7.8=4 WeldingSetVoltage:4
WeldingSetVoltageGradualChangeEnd:3.8.2=0 WeldingSetVoltageGradualChangeStart:3.8.2=5 WeldingSetVoltageRelation:5
"""
# The force sensor's.
_OF_FORCE_SENSOR = """
EndForceDragControl:9,3.8.0=10,3.8.3=11 ForceSensorSetSaveDataFlag:1 FT_Activate:1 FT_CalCenterEnd:0
FT_CalCenterStart:0 FT_ComplianceStart:2 FT_ComplianceStop:0 FT_Control:12,3.8.7=14 FT_FindSurface:7 FT_Guard:6
FT_LinInsertion:6 FT_PdCogIdenRecord:2 FT_PdIdenRecord:1 FT_RotInsertion:7,3.9.2=8 FT_SetRCS:2 FT_SetZero:1
FT_SpiralSearch:5
"""
_SENSOR_SETTINGS = ("FT_Activate", "FT_SetRCS", "FT_SetZero")  # without effect on one that reads true from the start
_COMPUTED_BY_FORCE_SENSOR = {"ForceSensorComputeLoad": 4, "FT_PdIdenCompute": 1, "FT_PdCogIdenCompute": 3}
# A query: the setting that it reads, how many arguments choose among several of its kind, how many values it answers.
_READ_BACK = {
    "AuxServoGetAcc": ("AuxServoSetAcc", 0, 2), "AuxServoGetEmergencyStopAcc": ("AuxServoSetEmergencyStopAcc", 0, 2),
    "AxleSensorConfigGet": ("AxleSensorConfig", 0, 2), "AuxServoGetParam": ("AuxServoSetParam", 1, 5),
    "ExtDevGetUDPComParam": ("ExtDevSetUDPComParam", 0, 10),
    "FT_GetConfig": ("FT_SetConfig", 0, 4), "GetAxleCommunicationParam": ("SetAxleCommunicationParam", 0, 7),
    "GetAxleLuaEnableDeviceType": ("SetAxleLuaEnableDeviceType", 0, 3),
    "GetAxleLuaEnableStatus": ("SetAxleLuaEnable", 0, 1), "GetExDevProtocol": ("SetExDevProtocol", 0, 1),
    "GetForceSensorPayload": ("SetForceSensorPayload", 0, 1),
    "GetForceSensorPayloadCog": ("SetForceSensorPayloadCog", 0, 3),
    "GetRobotInstallAngle": ("SetRobotInstallAngle", 0, 2), "GetSysVarValue": ("SetSysVarValue", 1, 1),
    "GetVelFeedForwardRatio": ("SetVelFeedForwardRatio", 0, 6),
    "GetWideBoxTempFanMonitorParam": ("SetWideBoxTempFanMonitorParam", 0, 2),
    "GetRobotStopOnComDisc": ("SetRobotStopOnComDisc", 1, 2),
    **{f"Get{name}": (f"Set{name}", 0, 8) for name in (
        "DIConfig", "DIConfigLevel", "DOConfig", "DOConfigLevel", "StandardDILevel", "StandardDOLevel")},
    **{f"Get{name}": (f"Set{name}", 0, 2) for name in ("ToolDIConfig", "ToolDIConfigLevel")},
    "WeldingGetCheckArcInterruptionParam": ("WeldingSetCheckArcInterruptionParam", 0, 2),
    "WeldingGetCurrentRelation": ("WeldingSetCurrentRelation", 0, 5),
    "WeldingGetProcessParam": ("WeldingSetProcessParam", 1, 8),
    "WeldingGetReWeldAfterBreakOffParam": ("WeldingSetReWeldAfterBreakOffParam", 0, 4),
    "WeldingGetVoltageRelation": ("WeldingSetVoltageRelation", 0, 5),
}  # fmt: skip


def accepted_settings(version: tuple[int, int, int], *, force_sensor: bool = False) -> Table:
    """Return the methods that a release knows, with a memory of their own. force_sensor: whether there is one."""
    memory: dict[tuple, list] = {}
    keys = {setting: count for setting, count, _ in _READ_BACK.values()}
    counts = _counts(_OF_THE_CONTROLLER + _OF_EQUIPMENT, version)
    return {
        **{name: Method(count, _accept(name, keys.get(name, 0), memory)) for name, count in counts.items()},
        **{
            query: Method(count, _read_back(setting, values, memory), values)
            for query, (setting, count, values) in _READ_BACK.items()
            if setting in counts
        },
        **{
            name: Method(count, lambda *_: Code.NO_FORCE_SENSOR)
            if not force_sensor or name not in _SENSOR_SETTINGS
            else Method(count, _accept(name, 0, memory))
            for name, count in _counts(_OF_FORCE_SENSOR, version).items()
        },
        **{name: Method(0, lambda: Code.NO_FORCE_SENSOR, values) for name, values in _COMPUTED_BY_FORCE_SENSOR.items()},
    }


def _counts(table: str, version: tuple[int, int, int]) -> dict[str, int]:
    """Return how many arguments each method takes on a release; without those that the release does not know."""
    counts: dict[str, int] = {}
    for entry in table.split():
        name, _, changes = entry.partition(":")
        for change in changes.split(","):
            release, _, count = change.rpartition("=")
            since = tuple(map(int, release.split("."))) if release else OLDEST_RELEASE
            if since <= version:
                counts[name] = int(count)
    return counts


def _accept(name: str, keys: int, memory: dict[tuple, list]) -> Callable[..., int]:
    first = itertools.count()

    def call(*arguments: object) -> int:
        values = _flat(arguments)
        if values is None:
            return Code.WRONG_VALUE
        if next(first) == 0:
            _log.info("%s is accepted and has no effect on the emulated arm", name)
        memory[name, *values[:keys]] = values[keys:]
        return Code.OK

    return call


def _read_back(setting: str, count: int, memory: dict[tuple, list]) -> Callable[..., list | int]:
    """Return what reads the last values of a setting, 0 before it was set."""

    def call(*arguments: object) -> list | int:
        keys = _flat(arguments)
        if keys is None:
            return Code.WRONG_VALUE
        return [*memory.get((setting, *keys), []), *[0] * count][:count]

    return call


def _flat(arguments: tuple) -> list | None:
    """Return numbers and texts in order, those of lists among them; None where there is anything else."""
    values = [value for given in arguments for value in (given if isinstance(given, list) else [given])]
    good = all(
        isinstance(value, str | int | float) and (isinstance(value, str) or math.isfinite(value)) for value in values
    )
    return values if good else None
