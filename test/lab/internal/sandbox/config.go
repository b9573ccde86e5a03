// SPDX-License-Identifier: Apache-2.0

// Package sandbox keeps every process of a lab inside its own namespaces.
//
// A supervisor on the host starts one process in new PID, mount, network, UTS, IPC and cgroup namespaces. That
// process, the lab's init, is PID 1 in there and starts the components it is told to start. When it dies, the kernel
// kills whatever it left running, and takes mounts and interfaces away with the namespaces: nothing has to be tracked
// in order to be cleaned up. The cgroup folders are the exception, and [Stop] removes them.
package sandbox

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Config says what a sandbox looks like. It is written to a file that both the supervisor and the init read.
type Config struct {
	// Hostname is the host name inside, and the node's name.
	Hostname string `json:"hostname"`
	// Cgroup is the name of the folder made in every cgroup hierarchy. One path element.
	Cgroup string `json:"cgroup"`
	// State is the folder on the host that holds everything the sandbox writes.
	State string `json:"state"`
	// HostInterface is the name of the host's end of the veth pair, at most 15 bytes.
	HostInterface string `json:"hostInterface"`
	// HostAddress and NodeAddress are the two ends of the veth pair, with the prefix length.
	HostAddress netip.Prefix `json:"hostAddress"`
	NodeAddress netip.Prefix `json:"nodeAddress"`
	// LoopbackAddresses are added to lo, such as the IP of the kubernetes service.
	LoopbackAddresses []netip.Prefix `json:"loopbackAddresses"`
	// Binds maps a path inside to the file or folder that is mounted over it.
	Binds map[string]string `json:"binds"`
	// Tunables maps a file under /proc/sys to what a read of it gives inside; writes go to a file of the sandbox.
	// The kubelet insists on some values that are global to the kernel, and the lab must not change its host.
	Tunables map[string]string `json:"tunables"`
}

// ControlSocket is where the init listens, as a path inside the sandbox.
const ControlSocket = "/run/lab/control.sock"

// ConfigFile is where [Config.Save] writes, inside a state folder.
func ConfigFile(state string) string { return filepath.Join(state, "sandbox.json") }

// LogFolder holds one file for each component, named after it, and supervisor.log.
func LogFolder(state string) string { return filepath.Join(state, "logs") }

// SupervisorLog is what the supervisor and the init say about themselves.
func SupervisorLog(state string) string { return filepath.Join(LogFolder(state), "supervisor.log") }

func lockFile(state string) string { return filepath.Join(state, "supervisor.lock") }
func pidFile(state string) string  { return filepath.Join(state, "supervisor.json") }

// PIDs are the two processes that hold a sandbox, by their ids on the host.
type PIDs struct {
	Supervisor int `json:"supervisor"`
	Init       int `json:"init"`
}

// Save writes the configuration into its state folder.
func (c Config) Save() error { return writeJSON(ConfigFile(c.State), c) }

// LoadConfig reads what [Config.Save] wrote.
func LoadConfig(path string) (Config, error) {
	var c Config
	return c, readJSON(path, &c)
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}
