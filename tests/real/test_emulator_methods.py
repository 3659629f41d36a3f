"""Methods that the vendor's SDK calls: arcs, jogging, servoing in Cartesian space, outputs, frames, limits, pauses."""

import socket
import threading
import time

import numpy as np
import pytest
from fr3 import FR3
from running import Running
from waiting import wait_for

from real.core.faults import RobotFault
from real.emulator import kinematics
from real.emulator.vendor_methods import NOT_SERVED
from real.fairino import cnde, text_frames
from real.fairino.xmlrpc import RpcLink

HOME = np.rad2deg(FR3.home_rad)
ZEROS, AXES = [0.0] * 6, [0.0] * 4


def flange(running: Running) -> np.ndarray:
    return kinematics.forward(running.controller.drives.target_deg)


def beside(pose: list[float], **shift_mm: float) -> list[float]:
    """`pose` shifted along x, y or z."""
    return [value + shift_mm.get(axis, 0.0) for value, axis in zip(pose, ("x", "y", "z", "", "", ""), strict=True)]


def point(pose: list[float]) -> list:
    """Joints, pose, tool, user, speed, acceleration and external axes, as MoveC and Circle take them in a flat list."""
    return [*HOME.tolist(), *pose, 0, 0, 100.0, 100.0, *AXES]


def recorded(running: Running) -> list[np.ndarray]:
    """Every commanded flange position from now on."""
    positions: list[np.ndarray] = []
    record = running.controller.monitor.record_command

    def recording(joint_deg: np.ndarray) -> None:
        positions.append(kinematics.forward(joint_deg)[:3, 3])
        record(joint_deg)

    running.controller.monitor.record_command = recording
    return positions


def test_an_arc_passes_its_points_on_one_circle(ready, running):
    start = kinematics.pose_of(flange(running))
    over, end = beside(start, x=40, y=40), beside(start, x=80)
    positions = recorded(running)
    no_offset = [0, *ZEROS]
    assert ready("MoveC", [*point(over), *no_offset, *point(end), *no_offset, 100.0, -1.0, 100.0, 0]) == 0
    path = np.array(positions)
    centre = np.array(start[:3]) + [40, 0, 0]
    assert np.abs(np.linalg.norm(path - centre, axis=1) - 40).max() < 0.01
    assert np.linalg.norm(path - over[:3], axis=1).min() < 4
    np.testing.assert_allclose(flange(running)[:3, 3], end[:3], atol=0.01)


def test_a_circle_ends_where_it_began(ready, running):
    start = kinematics.pose_of(flange(running))
    positions = recorded(running)
    via = [*point(beside(start, x=30, y=30)), *point(beside(start, x=60))]
    assert ready("Circle", [*via, 100.0, 0, *ZEROS, 100.0, -1.0, 0]) == 0
    np.testing.assert_allclose(flange(running)[:3, 3], start[:3], atol=0.01)
    assert np.array(positions)[:, 0].max() == pytest.approx(start[0] + 60, abs=0.5)


def test_points_on_a_line_are_no_circle(ready, running):
    start = kinematics.pose_of(flange(running))
    points = [*point(beside(start, x=10)), *point(beside(start, x=20))]
    assert ready("Circle", [*points, 100.0, 0, *ZEROS, 100.0, -1.0, 0]) == 4


@pytest.mark.parametrize(("firmware", "arguments"), [("3.7.6", 12), ("3.8.2", 13), ("3.8.5", 1)])
def test_arguments_of_lines_and_arcs_by_release(firmware, arguments):
    running = Running(firmware)
    link = RpcLink(running.address("rpc_port"), 5.0)
    try:
        assert running.emulator.rpc.instance._table["MoveL"].arguments == arguments
        with pytest.raises(RobotFault, match="-502"):
            link("MoveL", *range(arguments + 1))
        assert link("SetCollisionStrategy", *([0] * (4 if firmware == "3.7.6" else 5))) == 0
    finally:
        link.close()
        running.stop()


def test_jogging_a_joint_goes_as_far_as_it_was_told_and_not_beyond_its_limit(ready, running):
    assert ready("StartJOG", 0, 1, 1, 100.0, 100.0, 5.0) == 0
    wait_for(lambda: not running.controller.in_motion())
    np.testing.assert_allclose(running.controller.drives.target_deg, HOME + [5, 0, 0, 0, 0, 0], atol=1e-6)
    assert ready("StartJOG", 0, 5, 0, 100.0, 100.0, 400.0) == 0
    wait_for(lambda: not running.controller.in_motion())
    assert running.controller.drives.target_deg[4] == pytest.approx(-175)


def test_jogging_the_tool_along_the_base_can_be_stopped(ready, running):
    start = flange(running)[:3, 3]
    assert ready("StartJOG", 2, 3, 1, 5.0, 100.0, 60.0) == 0
    wait_for(lambda: flange(running)[2, 3] > start[2] + 2)
    assert ready("StopJOG", 3) == 0
    wait_for(lambda: not running.controller.in_motion())
    reached = flange(running)[:3, 3]
    assert reached[2] < start[2] + 59
    np.testing.assert_allclose(reached[:2], start[:2], atol=0.5)
    assert ready("ImmStopJOG") == 0


@pytest.mark.parametrize("arguments", [(0, 7, 1, 50.0, 0.0, 5.0), (0, 1, 2, 50.0, 0.0, 5.0), (3, 1, 1, 50.0, 0.0, 5.0)])
def test_a_jog_of_an_axis_that_does_not_exist_answers_4(ready, arguments):
    assert ready("StartJOG", *arguments) == 4


def test_a_cartesian_servo_target_moves_the_tool(ready, running):
    start = flange(running)[:3, 3]
    assert ready("ServoMoveStart") == 0
    for _ in range(10):
        assert ready("ServoCart", 1, [0.0, 0.0, 0.5, 0.0, 0.0, 0.0], [1.0] * 6, AXES, 0.0, 0.0, 0.008, 0.0, 0.0) == 0
        time.sleep(0.008)
    wait_for(lambda: abs(flange(running)[2, 3] - start[2] - 5) < 0.01)
    assert ready("ServoMoveEnd") == 0


def test_outputs_appear_in_the_state(ready, running):
    assert ready("SetDO", 9, 1, 0, 0) == ready("SetDO", 0, 1, 0, 0) == ready("SetToolDO", 1, 1, 0, 0) == 0
    assert ready("SetAO", 1, 2047.5, 0) == 0
    with running.driver() as driver:
        driver.states.wait_newer(0.0, 5.0)
    values = running.controller.outputs.values()
    assert (values["do_low"], values["do_high"], values["do_tool"], values["std_AO1_box"]) == (1, 2, 2, 2047.5)
    assert ready("SetDO", 9, 0, 0, 0) == 0
    assert running.controller.outputs.values()["do_high"] == 0
    assert ready("SetDO", 16, 1, 0, 0) == ready("SetToolDO", 2, 1, 0, 0) == ready("SetAO", 0, 5000.0, 0) == 4


def test_work_objects_and_tools_up_to_15_are_kept(ready):
    pose = [10.0, 20.0, 30.0, 0.0, 0.0, 90.0]
    assert ready("SetWObjCoord", 15, pose, 0) == ready("SetToolCoord", 15, pose, 0, 0, 1, 0) == 0
    assert ready("GetWObjOffset", 1) == ready("GetTCPOffset", 1) == [0, *pose]
    assert (ready("SetWObjCoord", 16, pose, 0), ready("SetToolCoord", 0, pose, 0, 0, 1, 0)) == (34, 37)


def test_soft_limits_can_be_narrowed_but_not_widened(ready, running):
    assert ready("SetLimitPositive", [170.0, 80.0, 140.0, 80.0, 170.0, 160.0]) == 0
    assert ready("GetJointSoftLimitDeg", 1)[1:3] == [-175.0, 170.0]
    assert ready("MoveJ", [172.0, *HOME[1:].tolist()], ZEROS, 0, 0, 100.0, 0.0, 100.0, AXES, -1.0, 0, ZEROS) == 32
    assert ready("SetLimitNegative", [-180.0] * 6) == 4


def test_readings_that_the_sdk_asks_for(ready, running):
    radian = ready("GetActualJointPosRadian", 1)
    np.testing.assert_allclose(radian[1:], FR3.home_rad, atol=1e-6)
    assert ready("GetGripperConfig") == [0, -1, -1, -1, -1]
    assert ready("SetGripperConfig", 4, 0, 0, 1) == 0
    assert ready("GetGripperConfig") == [0, 4, 0, 0, 1]
    assert ready("GetDefaultTransVel")[0] == ready("WaitMs", 5) == ready("SetOaccScale", 20.0) == 0


def test_queries_answer_what_the_state_frames_carry(ready, running):
    assert ready("SetDO", 9, 1, 0, 0) == ready("SetDO", 0, 1, 0, 0) == ready("SetToolDO", 1, 1, 0, 0) == 0
    assert ready("GetDO") == [0, 2, 1]
    assert ready("GetToolDO") == [0, 2]
    assert ready("GetDI", 3, 0) == ready("GetToolAI", 0, 0) == [0, 0]
    assert ready("SetWObjCoord", 4, [10.0, 20.0, 30.0, 0.0, 0.0, 90.0], 0) == 0
    assert ready("SetToolCoord", 3, [0.0, 0.0, 100.0, 0.0, 0.0, 0.0], 0, 0, 1, 0) == 0
    assert (ready("GetActualTCPNum", 1), ready("GetActualWObjNum", 1)) == ([0, 3], [0, 4])
    assert (ready("GetProgramState"), ready("GetMotionQueueLength")) == ([0, 1], [0, 0])
    assert ready("StartJOG", 0, 1, 1, 10.0, 100.0, 20.0) == 0
    wait_for(lambda: ready("GetActualJointSpeedsDegree", 1)[1] > 17.95)  # of 180 deg/s
    # Round joint 1 at the tool's distance from its axis, in the base frame.
    x, y = kinematics.forward(running.controller.measured_deg())[:2] @ [0, 0, 100, 1]
    code, *speed = ready("GetTargetTCPSpeed", 1)
    assert code == 0 and speed[5] == pytest.approx(18, abs=0.1)
    assert np.hypot(*speed[:2]) == pytest.approx(np.deg2rad(18) * np.hypot(x, y), rel=0.01)
    assert ready("GetTargetTCPCompositeSpeed", 1)[2] == pytest.approx(18, abs=0.1)
    assert ready("GetMotionQueueLength") == [0, 1]
    wait_for(lambda: not running.controller.in_motion())


def test_stops_are_answered_while_faulted_and_other_states_are_not(ready, running):
    assert (ready("GetRobotEmergencyStopState"), ready("GetSafetyStopState")) == ([0, 0], [0, 0, 0])
    running.controller.set_safety_stop(active=True)
    running.controller.press_emergency_stop()
    assert (ready("GetRobotEmergencyStopState"), ready("GetSafetyStopState")) == ([0, 1], [0, 1, 0])
    assert ready("GetActualTCPSpeed", 1) == [14, *[0] * 6]


def test_files_that_are_not_there_are_answered_for(ready):
    assert ready("FileDownload", 0, "a.lua") == ready("PointTableDownload", "a.db") == -1
    assert (
        ready("FileUpload", 0, "a.lua")
        == ready("SetTPDStart", 1, "path", 4, 0, 0)
        == ready("RbLogDownloadPrepare")
        == 14
    )
    assert ready("SetWebTPDStop") == 0
    assert ready("ComputeFileMD5", "/fruser/a.lua") == [14, 0]


def test_a_blocking_gripper_command_returns_when_the_motion_has_ended(ready, running):
    assert ready("ActGripper", 1, 1) == 0
    begin_s = time.monotonic()
    assert ready("MoveGripper", 1, 0, 50, 50, 10000, 0, 0, 0.0, 0, 0) == 0
    assert time.monotonic() - begin_s > 0.5
    assert not running.controller.gripper.moving
    assert ready("MoveGripper", 1, 100, 1, 50, 10, 0, 0, 0.0, 0, 0) == 76  # longer than 10 ms
    assert ready("MoveGripper", 2, 100, 50, 50, 10, 0, 0, 0.0, 0, 0) == 73  # index 2 is not active


def test_moving_a_guided_arm_is_refused_with_123(ready, running):
    running.controller.set_mode(1)
    assert running.controller.set_drag_teach(1) == 0
    assert ready("MoveJ", HOME.tolist(), ZEROS, 0, 0, 100.0, 0.0, 100.0, AXES, -1.0, 0, ZEROS) == 123
    assert ready("ServoMoveStart") == 123


def test_the_controllers_clock_advances(running):
    with running.driver() as driver:
        first = driver.states.wait_newer(0.0, 5.0)
        states = running.emulator.states[1]
        assert states._clients, "the driver reads CNDE"
        read = [cnde.encode(values, cnde.layout(("robot_time",))) for values in _values(running)]
        assert len(set(read)) > 1
        assert driver.states.wait_newer(first.stamp_s, 5.0)


def _values(running: Running):
    from real.emulator.state_values import state_values

    for _ in range(2):
        yield state_values(running.controller)
        time.sleep(0.02)


def text_command(running: Running, command: int, content: str) -> str:
    """Send one text frame to port 8080 as the vendor's SDK does; the content of the answer."""
    with socket.create_connection(("127.0.0.1", running.emulator.ports["text_port"]), 5.0) as connection:
        connection.sendall(text_frames.encode(0, command, content))
        (answer,) = text_frames.decode(connection.recv(1024))
    return answer.content


def test_a_motion_is_paused_and_resumed_through_port_8080(ready, running):
    goal = HOME + [20, 0, 0, 0, 0, 0]
    answers = []
    move = [goal.tolist(), ZEROS, 0, 0, 10.0, 0.0, 100.0, AXES, -1.0, 0, ZEROS]
    thread = threading.Thread(target=lambda: answers.append(ready("MoveJ", *move)))
    thread.start()
    wait_for(lambda: running.controller.drives.path_cycles)
    assert text_command(running, 103, "PAUSE") == "1"
    wait_for(lambda: not np.any(running.controller.drives.speed_deg_s))
    left = running.controller.drives.path_cycles
    assert left > 0
    time.sleep(0.1)
    assert running.controller.drives.path_cycles == left
    assert text_command(running, 104, "RESUME") == "1"
    thread.join(20)
    assert answers == [0]
    np.testing.assert_allclose(running.controller.measured_deg(), goal, atol=0.01)
    assert text_command(running, 104, "RESUME") == "0"  # nothing is paused
    assert text_command(running, 9999, "?") == "0"


# NAME:BYTES of every state in SDK 2.2.5 and 2.2.6, typed from their table of 133; some have several names on the wire.
SDK_STATES = """
frame_head:2 frame_cnt:1 data_len:2 program_state:1 robot_state:1 main_code:4 sub_code:4 robot_mode:1
actual_joint_pos:48 actual_TCP_pos:48 actual_flange_pos:48 actual_joint_vel:48 actual_joint_acc:48
target_TCP_cmpvel:16 target_TCP_vel:48 actual_TCP_cmpvel:16 actual_TCP_vel:48 actual_joint_torque:48 tool_id:4
wobj_id:4 cfg_DO_box:1 std_DO_box:1 cfg_DO_tool:1 cfg_DI_box:1 std_DI_box:1 cfg_DI_tool:1 std_AI0_box:8
std_AI1_box:8 std_AI_tool:8 ft_sensor_raw_data:48 ft_sensor_data:48 ft_sensor_active:1 emergency_stop:1
motion_done:4 gripper_motion_done:1 motion_queue_len:4 collision_state:1 trajectory_pnum:4 safety_stop0_state:1
safety_stop1_state:1 gripper_fault_id:1 gripper_fault:4 gripper_active:4 gripper_position:1 gripper_speed:4
gripper_current:4 gripper_temp:4 gripper_voltage:4 aux_axis_state:25 exaxis_status:116 ext_DI_state:16
ext_DO_state:16 ext_AI_state:16 ext_AO_state:16 rbt_enable_state:4 joint_driver_torque:48 actual_joint_temp:48
robot_time:28 software_upgrade_state:4 end_lua_err_code:4 std_AO0_box:8 std_AO1_box:8 std_AO_tool:8
rotating_gripper_num:8 rotating_gripper_speed:1 rotating_gripper_tor:1 weld_break_off_state:1 weld_arc_state:1
target_joint_torque:48 smarttool_state:4 wide_voltage_ctrl_box_temp:8 wide_voltage_ctrl_box_fan_current:4
tool_coord:48 wobj_coord:48 exTool_coord:48 exAxis_coord:48 payload:8 pay_cog:24 last_servoJ_target:48
servoJ_cmd_num:4 target_joint_pos:48 target_joint_vel:48 target_joint_acc:48 target_joint_current:48
actual_joint_current:48 actual_TCP_force:48 target_TCP_pos:48 collision_level:6 speed_scaling_man:8
speed_scaling_auto:8 line_number:4 abnormal_stop:1 cur_lua_file_name:256 prog_total_line:1 safety_box_signal:6
welding_voltage:8 welding_current:8 welding_track_speed:8 tpd_exception:1 alarm_reboot_robot:1
modbus_master_connect:1 modbus_slave_connect:1 btn_box_stop_signal:1 drag_alarm:1 safety_door_alarm:1
safety_plane_alarm:1 motion_alarm:1 interfere_alarm:1 udp_cmd_state:4 weld_ready_state:1
alarm_check_emerg_stop_btn:1 ts_tm_cmd_com_error:1 ts_tm_state_com_error:1 ctrl_box_error:4 safety_data_state:1
force_sensor_err_state:1 ctrl_open_lua_errcode:4 strange_pos_flag:1 alarm:1 dr_alarm:1 socket_conn_timeout:1
socket_read_timeout:1 ts_web_state_com_err:1 alive_slave_num_error:1 slave_com_error:8 cmd_point_error:1 IO_error:1
gripper_error:1 file_error:1 para_error:1 exaxis_out_slimit_error:1 dr_com_err:6 dr_err:1 out_sflimit_err:1
axle_gen_com_data:130 check_sum:2 exaxis_coord_id:1
"""


def test_every_field_that_the_sdk_names_can_be_configured(running):
    sizes = {name: int(size) for name, _, size in (entry.partition(":") for entry in SDK_STATES.split())}
    assert {name: np.dtype(cnde.TYPES[name]).itemsize for name in sizes} == sizes
    names = tuple(sizes)
    size = cnde.layout(names).itemsize
    assert size <= cnde.MAX_DATA_BYTES
    with socket.create_connection(running.address("cnde_port"), 5.0) as connection:
        connection.settimeout(5.0)
        connection.sendall(cnde.frame(cnde.OUTPUT_CONFIG, cnde.config_data(names, 8)))
        cutter = cnde.CndeStream()
        frames: list[bytes] = []
        while not frames:
            frames += cutter.feed(connection.recv(65536))
    assert cnde.data_of(frames[0])[0] == cnde.ACK_OK


def test_a_method_that_is_not_served_is_distinguished_from_an_unknown_one(ready):
    assert "WeaveStart" in NOT_SERVED and "ServoJT" in NOT_SERVED
    with pytest.raises(RobotFault, match="not served by this emulator: WeaveStart"):
        ready("WeaveStart", 0)
    with pytest.raises(RobotFault, match="not served by this emulator: SetDexterousHandsMove"):  # of later SDKs
        ready("SetDexterousHandsMove", 0)
    with pytest.raises(RobotFault, match="unknown method: NoSuchMethod"):
        ready("NoSuchMethod")
