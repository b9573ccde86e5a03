// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"errors"
	"regexp"
	"testing"
)

func TestProgressPrintsPlainLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	if err := p.run("etcd", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := p.run("kubelet", func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("expected %v, got %v", broken, err)
	}
	want := regexp.MustCompile(`^  etcd +ok +\d+\.\ds\n  kubelet +failed +\d+\.\ds\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("expected %s, got %q", want, out.String())
	}
}
