"""Whether this machine can draw with Vulkan, asked before Filament aborts the program over it."""

import ctypes

from sim.core.errors import UserError

INSTALL_VULKAN = "apt-get install -y libvulkan1 mesa-vulkan-drivers"


def check_vulkan() -> None:
    """Raise UserError with the line that installs it when there is no Vulkan device (Filament would abort)."""
    reason = _vulkan_fault()
    if reason:
        raise UserError(f"renderer=filament needs Vulkan: {reason}; install it with: {INSTALL_VULKAN}")


def _vulkan_fault() -> str:
    """Return why no Vulkan device can be opened, "" when one can."""
    try:
        vulkan = ctypes.CDLL("libvulkan.so.1")
    except OSError:
        return "no libvulkan.so.1"
    instance, count = ctypes.c_void_p(), ctypes.c_uint32()
    asked = (ctypes.c_uint64 * 8)(1)  # VkInstanceCreateInfo: its type, 1, and no layer or extension
    result = vulkan.vkCreateInstance(asked, None, ctypes.byref(instance))
    if result != 0:
        return f"no driver (VkResult {result})"
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    vulkan.vkDestroyInstance(instance, None)
    return "" if count.value else "no device"
