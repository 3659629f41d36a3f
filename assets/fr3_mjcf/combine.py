"""Builds fr3_gripper.xml: gripper.xml mounted on the site `flange` of fr3.xml.

MJCF's <include> cannot reach into a body of the included file, and <attach> with unprefixed names warns at
each load. So the two files are merged once, here. Run: python combine.py
"""

import copy
import math
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).parent
HEADER = "<!-- Built by combine.py from fr3.xml and gripper.xml, where the comments are. Do not edit. -->\n"
HOME_DEG = [-20, -100, 85, -75, -90, -20]  # the home of the robot's description: tool straight down over the work space
FINGER_OPEN_M = 0.040


def combine() -> str:
    """The text of fr3_gripper.xml."""
    arm = ET.parse(HERE / "fr3.xml").getroot()
    tool = ET.parse(HERE / "gripper.xml").getroot()
    arm.set("model", "fr3_gripper")

    wrist3 = arm.find(".//body[@name='wrist3']")
    flange = wrist3.find("site[@name='flange']")
    gripper = copy.deepcopy(tool.find("worldbody/body"))
    gripper.set("pos", flange.get("pos"))
    wrist3.append(gripper)

    for section in tool:
        if section.tag == "worldbody":
            continue
        ours = arm.find(section.tag)
        if ours is None:
            ours = ET.SubElement(arm, section.tag)
        ours.attrib.update(section.attrib)
        ours.extend(section)

    exclude = ET.SubElement(arm.find("contact"), "exclude")
    exclude.attrib.update(body1="wrist3", body2="gripper")  # bolted together

    joints = [f"{math.radians(q):.6g}" for q in HOME_DEG]
    fingers = [f"{FINGER_OPEN_M:g}"]
    key = ET.SubElement(ET.SubElement(arm, "keyframe"), "key", name="home")
    key.set("qpos", " ".join(joints + 2 * fingers))
    key.set("ctrl", " ".join(joints + fingers))

    ET.indent(arm)
    return HEADER + ET.tostring(arm, encoding="unicode") + "\n"


if __name__ == "__main__":
    (HERE / "fr3_gripper.xml").write_text(combine())
