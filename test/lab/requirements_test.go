// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"strings"
	"testing"
)

func TestRequirements(t *testing.T) {
	able := func() facts {
		return facts{
			system: "linux", capabilities: 1<<41 - 1, namespaces: []string{"cgroup", "ipc", "mnt", "net", "pid", "uts"},
			commands: map[string]bool{"go": true}, hasAPT: true,
		}
	}
	runc := aptPackage{name: "runc", what: "the command runc"}
	tests := map[string]struct {
		change func(*facts)
		want   string // empty: the machine can
	}{
		"able":                 {change: func(*facts) {}},
		"without SYS_RESOURCE": {change: func(f *facts) { f.capabilities &^= 1 << 24 }},
		"installable package":  {change: func(f *facts) { f.missing = []aptPackage{runc} }},
		"other system":         {change: func(f *facts) { f.system = "darwin" }, want: "needs Linux, got darwin"},
		"no root":              {change: func(f *facts) { f.uid = 1000 }, want: "needs root, got user id 1000"},
		"no SYS_ADMIN":         {change: func(f *facts) { f.capabilities &^= 1 << 21 }, want: "CAP_SYS_ADMIN"},
		"no NET_ADMIN":         {change: func(f *facts) { f.capabilities &^= 1 << 12 }, want: "CAP_NET_ADMIN"},
		"no cgroup namespace":  {change: func(f *facts) { f.namespaces = f.namespaces[1:] }, want: "cgroup namespaces"},
		"no go":                {change: func(f *facts) { f.commands = nil }, want: "command go"},
		"package without apt": {change: func(f *facts) { f.missing, f.hasAPT = []aptPackage{runc}, false },
			want: "the command runc (Debian's package runc)"},
		"first of several wins": {change: func(f *facts) { f.system, f.uid = "darwin", 1000 }, want: "needs Linux"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := able()
			test.change(&f)
			err := f.check()
			if test.want == "" {
				if err != nil {
					t.Fatalf("expected no error, got %v", err)
				}
				return
			}
			var requirement *RequirementError
			if !errors.As(err, &requirement) {
				t.Fatalf("expected a RequirementError, got %v", err)
			}
			line := err.Error()
			if !strings.Contains(line, test.want) || !strings.Contains(line, "KUBECONFIG") || strings.Contains(line, "\n") {
				t.Errorf("expected one line with %q and KUBECONFIG, got %q", test.want, line)
			}
		})
	}
}

func TestEffectiveCapabilitiesAreRead(t *testing.T) {
	f := gatherFacts()
	if f.system != "linux" || f.uid != 0 {
		if f.check() == nil {
			t.Errorf("expected a requirement to be missing on %s as user %d, got none", f.system, f.uid)
		}
		return
	}
	if f.capabilities == 0 {
		t.Error("capabilities of root: expected some, got none")
	}
}
