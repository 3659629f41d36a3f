"""Builds franka_gripper.xml: the jaw of the FAIRINO arm mounted on the site `flange` of franka.xml.

Both flanges have the same bolts (ISO 9409-1-50-4-M6), so both arms carry the same jaw, camera and pads, and whatever
grasps with one grasps with the other. The two files are merged once, here. Run: python combine.py
"""

import copy
import math
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).resolve().parent
JAW = HERE.parent / "fr3_mjcf"
HEADER = (
    "<!-- Built by combine.py from franka.xml and the FAIRINO's gripper.xml, where the comments are. Do not edit. -->\n"
)
HOME_DEG = [0, -4.0, 0, -131.6, 0, 127.6, 0]  # the home of the robot's description: tool straight down
FINGER_OPEN_M = 0.040
QUARTER_TURN = "1 0 0 1"  # about the flange: at j7 = 0 the jaws open along the reach, the camera looks from the side


def combine() -> str:
    """The text of franka_gripper.xml."""
    arm = ET.parse(HERE / "franka.xml").getroot()
    tool = ET.parse(JAW / "gripper.xml").getroot()
    arm.set("model", "franka_gripper")
    for file in tool.iterfind("asset/*[@file]"):
        file.set("file", f"../../{JAW.name}/meshes/{file.get('file')}")

    last = arm.find(".//body[@name='link7']")
    gripper = copy.deepcopy(tool.find("worldbody/body"))
    gripper.set("pos", last.find("site[@name='flange']").get("pos"))
    gripper.set("quat", QUARTER_TURN)
    last.append(gripper)

    for section in tool:
        if section.tag in ("worldbody", "compiler"):
            continue
        ours = arm.find(section.tag)
        if ours is None:
            ours = ET.SubElement(arm, section.tag)
        ours.attrib.update(section.attrib)
        ours.extend(section)

    exclude = ET.SubElement(arm.find("contact"), "exclude")
    exclude.attrib.update(body1="link7", body2="gripper")  # bolted together

    joints = [f"{math.radians(q):.6g}" for q in HOME_DEG]
    fingers = [f"{FINGER_OPEN_M:g}"]
    key = ET.SubElement(ET.SubElement(arm, "keyframe"), "key", name="home")
    key.set("qpos", " ".join(joints + 2 * fingers))
    key.set("ctrl", " ".join(joints + fingers))

    ET.indent(arm)
    return HEADER + ET.tostring(arm, encoding="unicode") + "\n"


if __name__ == "__main__":
    (HERE / "franka_gripper.xml").write_text(combine())
