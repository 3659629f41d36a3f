"""The registries of policies, of their parts and of planners: a name in YAML chooses a configuration, which builds it.

@HEADS.register("flow")
@dataclass(frozen=True)
class FlowConfig(HeadConfig):
    name: str = "flow"
    hidden: int = option(384, "width", at_least(1))

    def build(self, shape: HeadShape) -> Head: ...
"""

from sim.core.registry import Registry

POLICIES: Registry[type] = Registry("policy", package="policies.models")
VISION: Registry[type] = Registry("vision part", package="policies.vision")
LANGUAGE: Registry[type] = Registry("language part", package="policies.language")
FUSIONS: Registry[type] = Registry("fusion part", package="policies.fusion")
HEADS: Registry[type] = Registry("head", package="policies.heads")
PLANNERS: Registry[type] = Registry("planner", package="policies.planner")
