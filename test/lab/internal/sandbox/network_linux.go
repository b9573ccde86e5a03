// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// nodeInterface is the sandbox's end of the veth pair.
const nodeInterface = "eth0"

// connect makes the veth pair between the host and the network namespace of the process with id pid.
func connect(config Config, pid int) error {
	return runIP(
		[]string{"link", "add", config.HostInterface, "type", "veth", "peer", "name", nodeInterface,
			"netns", strconv.Itoa(pid)},
		[]string{"addr", "add", config.HostAddress.String(), "dev", config.HostInterface},
		[]string{"link", "set", config.HostInterface, "up"},
	)
}

// disconnect removes the host's end, and with it the other one. The kernel removes both when the network namespace
// ends, but some time later.
func disconnect(config Config) error {
	if _, err := net.InterfaceByName(config.HostInterface); err != nil {
		return nil
	}
	err := runIP([]string{"link", "del", config.HostInterface})
	if _, gone := net.InterfaceByName(config.HostInterface); gone != nil {
		return nil
	}
	return err
}

// setUpNetwork addresses the interfaces inside. There is no default route: nothing leaves this machine.
func setUpNetwork(config Config) error {
	if err := waitForInterface(nodeInterface, 10*time.Second); err != nil {
		return err
	}
	commands := [][]string{{"link", "set", "lo", "up"}}
	for _, address := range config.LoopbackAddresses {
		commands = append(commands, []string{"addr", "add", address.String(), "dev", "lo"})
	}
	commands = append(commands,
		[]string{"addr", "add", config.NodeAddress.String(), "dev", nodeInterface},
		[]string{"link", "set", nodeInterface, "up"})
	return runIP(commands...)
}

func waitForInterface(name string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		_, err := net.InterfaceByName(name)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for interface %s: %w", name, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func runIP(commands ...[]string) error {
	for _, args := range commands {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}
