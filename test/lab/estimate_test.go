// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"slices"
	"testing"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

// Every share is that of a binary of the lab.
func TestSharesAreOfBinaries(t *testing.T) {
	known := map[string]bool{}
	for _, b := range slices.Concat(toolchain.Etcd(), toolchain.Containerd(), toolchain.Kubernetes(), toolchain.Tekton()) {
		known[b.Tools+"/"+b.Name] = true
	}
	for name := range shares {
		if !known[name] {
			t.Errorf("%s is not a binary of the lab", name)
		}
	}
}

// The estimate follows the shares first, and then the pace of the machine.
func TestEstimate(t *testing.T) {
	now := time.Unix(0, 0)
	builds := []toolchain.Binary{
		{Name: "etcd", Tools: "etcd"}, {Name: "kube-apiserver", Tools: "kubernetes"}, {Name: "ctr", Tools: "containerd"},
	}
	e := newEstimate(builds, func() time.Time { return now })
	for _, step := range []struct {
		pass time.Duration
		want string
	}{
		{0, "0 of 3 built, 3 to go, about 9 min"},
		{70 * time.Second, "1 of 3 built, 2 to go, about 3 min"},
		{3 * time.Minute, "2 of 3 built, 1 to go, less than a minute"},
		{4 * time.Second, "3 of 3 built"},
	} {
		if step.pass > 0 {
			now = now.Add(step.pass)
			e.finish(builds[e.done])
		}
		if got := e.String(); got != step.want {
			t.Errorf("after %s: got %q, expected %q", now.Sub(e.started), got, step.want)
		}
	}
}
