/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program on the simulator alone: no driver, no NT, no second thread. It finds the loopback device on its bus, and
 * says what it is. Legal C and C++, since a harness may be either.
 */
#include "aero_sim.h"

int main(void)
{
    struct aero_sim_memory *memory = NULL;
    struct aero_sim_device *device = NULL;

    if (aero_sim_memory_create(&memory) ||
        aero_sim_device_create(aero_sim_model_find("loopback"), memory, NULL, &device) ||
        aero_sim_device_start(device))
        return 1;
    aero_sim_pci_write(device, 0x04, 2, 0x0002); /* Command: BAR0 answers */
    printf("vendor 0x%04X, magic 0x%08X\n", (unsigned)aero_sim_pci_read(device, 0x00, 2),
           (unsigned)aero_sim_bar_read(device, 0x3000, 4));
    aero_sim_device_stop(device);
    aero_sim_device_destroy(device);
    aero_sim_memory_destroy(memory);
    return 0;
}
