"""What the controller's releases serve and where: default ports, and since which release.

Sources: the vendor's Python SDK 2.0.6 (V3.7.6) to 2.2.6 (V3.9.6) and its change list.
"""

RPC_PORT = 20003  # XML-RPC, all releases
LEGACY_PORT = 20004  # packed state frames
CNDE_PORT = 20005  # configurable state frames
UDP_PORT = 20007  # text commands without connection: ServoJ
TEXT_PORT = 8080  # text commands: pause and resume

OLDEST_RELEASE = (3, 7, 6)  # the first whose state frame is known
MARGINS_SINCE = (3, 7, 8)  # SetLoadWeight takes the number of the load, SetCollisionStrategy a speed
BLEND_MODE_SINCE = (3, 8, 2)  # MoveL takes a blend mode
SERVOJ_ID_SINCE = (3, 8, 3)  # ServoJ takes an eighth argument, id
FLAT_MOVES_SINCE = (3, 8, 5)  # MoveL, MoveC and Circle take one list of numbers
LOAD_NUMBER_SINCE = (3, 8, 6)  # SetLoadCoord takes the number of the load
NUMBERED_QUERIES_SINCE = (3, 8, 6)  # GetToolCoordWithID and the like
QUEUE_CLEAR_SINCE = (3, 8, 7)  # MotionQueueClear
SERVO_CART_AXES_SINCE = (3, 9, 3)  # ServoCart takes external axes
UDP_SINCE = (3, 9, 4)
SERVO_SPEED_SINCE = (3, 9, 6)  # ServoJV
CNDE_SINCE = (3, 9, 5)
AUTOMATIC, MANUAL = 0, 1  # modes of the controller
