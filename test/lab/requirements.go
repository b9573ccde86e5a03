// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// RequirementError says that this machine cannot run a lab.
type RequirementError struct {
	Missing string // what is missing, and what was found instead
}

func (e *RequirementError) Error() string {
	return "this machine cannot run the lab: " + e.Missing +
		"; use any cluster with Tekton instead, through KUBECONFIG"
}

// facts are what the requirements are checked against.
type facts struct {
	system       string // GOOS
	uid          int
	capabilities uint64 // the effective set, a bit for each
	namespaces   []string
	commands     map[string]bool
	hasAPT       bool
	missing      []aptPackage
}

// capabilities(7) that the lab or the containers in it need, by bit.
var neededCapabilities = []struct {
	bit  int
	name string
}{
	{0, "CHOWN"}, {1, "DAC_OVERRIDE"}, {3, "FOWNER"}, {4, "FSETID"}, {5, "KILL"}, {6, "SETGID"}, {7, "SETUID"},
	{8, "SETPCAP"}, {10, "NET_BIND_SERVICE"}, {12, "NET_ADMIN"}, {13, "NET_RAW"}, {18, "SYS_CHROOT"},
	{19, "SYS_PTRACE"}, {21, "SYS_ADMIN"}, {27, "MKNOD"}, {29, "AUDIT_WRITE"}, {31, "SETFCAP"},
}

// neededNamespaces are the names under /proc/self/ns.
var neededNamespaces = []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"}

// check returns a [RequirementError] for the first thing that is missing and cannot be installed.
func (f facts) check() error {
	if f.system != "linux" {
		return &RequirementError{"it needs Linux, got " + f.system}
	}
	if f.uid != 0 {
		return &RequirementError{fmt.Sprintf("it needs root, got user id %d", f.uid)}
	}
	for _, c := range neededCapabilities {
		if f.capabilities&(1<<c.bit) == 0 {
			return &RequirementError{fmt.Sprintf("it needs the capability CAP_%s, got %016x", c.name, f.capabilities)}
		}
	}
	have := strings.Join(f.namespaces, " ")
	for _, n := range neededNamespaces {
		if !strings.Contains(" "+have+" ", " "+n+" ") {
			return &RequirementError{fmt.Sprintf("it needs a kernel with %s namespaces, got %q", n, have)}
		}
	}
	if !f.commands["go"] {
		return &RequirementError{"it needs the command go in PATH"}
	}
	if len(f.missing) > 0 && !f.hasAPT {
		return &RequirementError{fmt.Sprintf("it needs %s (Debian's package %s), and there is no apt-get to install it",
			f.missing[0].what, f.missing[0].name)}
	}
	return nil
}

// Check returns a [RequirementError] if this machine cannot run a lab. It changes nothing.
func Check() error { return gatherFacts().check() }

func gatherFacts() facts {
	f := facts{
		system: runtime.GOOS, uid: os.Getuid(), capabilities: effectiveCapabilities(),
		commands: map[string]bool{}, missing: missingPackages(),
	}
	f.commands["go"] = inPath("go")
	f.hasAPT = inPath("apt-get")
	entries, _ := os.ReadDir("/proc/self/ns")
	for _, entry := range entries {
		f.namespaces = append(f.namespaces, entry.Name())
	}
	return f
}

// effectiveCapabilities reads CapEff of proc_pid_status(5); 0 where there is none.
func effectiveCapabilities() uint64 {
	data, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(data), "\nCapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	set, _ := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return set
}

func inPath(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}

// aptPackage is a Debian package and what the lab wants from it.
type aptPackage struct {
	name    string
	what    string
	present func() bool
}

func aptPackages() []aptPackage {
	return []aptPackage{
		{"iproute2", "the command ip", func() bool { return inPath("ip") }},
		{"util-linux", "the command nsenter", func() bool { return inPath("nsenter") }},
		{"runc", "the command runc", func() bool { return inPath("runc") }},
		{"containernetworking-plugins", "the CNI plugins", func() bool { return cniPlugins() != "" }},
		{"busybox-static", "a static busybox", func() bool { return staticBinary("busybox") != "" }},
		{"bash-static", "a static bash", func() bool { return staticBinary("bash-static") != "" }},
	}
}

// compilerPackages are for binaries with C code: those of SPIRE.
func compilerPackages() []aptPackage {
	return []aptPackage{
		{"gcc", "the command gcc", func() bool { return inPath("gcc") }},
		{"libc6-dev", "a static C library", func() bool {
			found, _ := filepath.Glob("/usr/lib/*/libc.a")
			return len(found) > 0
		}},
	}
}

func missingPackages() []aptPackage { return missingOf(aptPackages()) }

func missingOf(packages []aptPackage) []aptPackage {
	var missing []aptPackage
	for _, p := range packages {
		if !p.present() {
			missing = append(missing, p)
		}
	}
	return missing
}

// cniPlugins returns the folder with the plugins that the node's network uses, or nothing.
func cniPlugins() string {
	for _, folder := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		complete := true
		for _, plugin := range []string{"bridge", "host-local", "loopback"} {
			_, err := os.Stat(filepath.Join(folder, plugin))
			complete = complete && err == nil
		}
		if complete {
			return folder
		}
	}
	return ""
}

// staticBinary returns the path of a command that runs in an image without libraries, or nothing.
func staticBinary(command string) string {
	path, err := exec.LookPath(command)
	if err != nil {
		return ""
	}
	file, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return ""
		}
	}
	return path
}
