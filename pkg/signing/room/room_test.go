// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/result"
	"github.com/tektoncd/pipeline/pkg/termination"
	"go.uber.org/zap"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

func TestShare(t *testing.T) {
	got := map[int]int{}
	for _, n := range []int{0, 1, 3, 4, 5, 7, 10, 12, 13000} {
		got[n] = room.Share(n)
	}
	want := map[int]int{0: 4096, 1: 4096, 3: 4096, 4: 3072, 5: 2457, 7: 1755, 10: 1228, 12: 1024, 13000: 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bytes by containers (-want +got):\n%s", diff)
	}
}

func entries(value string) []result.RunResult {
	return []result.RunResult{{Key: "a", Value: value, ResultType: result.TaskRunResultType}}
}

// TestText checks when messages are compressed, and that Tekton reads them.
func TestText(t *testing.T) {
	long := strings.Repeat("y", 600)
	for name, c := range map[string]struct {
		fill       room.Fill
		value      string
		compressed bool
	}{
		"short":                       {room.Fill{Share: 1000, Room: 700}, long, false},
		"too long, must not":          {room.Fill{Share: 500, Room: 400}, long, false},
		"too long, may":               {room.Fill{Share: 500, Room: 400, MayCompress: true}, long, true},
		"too long for one more":       {room.Fill{Share: 1000, Room: 400, MayCompress: true}, long, true},
		"always":                      {room.Fill{Share: 1000, Room: 700, Compress: true}, long, true},
		"always, not if it is longer": {room.Fill{Share: 1000, Room: 700, Compress: true}, "x", false},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := c.fill.Text(entries(c.value))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.HasPrefix(string(text), tekton.CompressedPrefix); got != c.compressed {
				t.Errorf("compressed %v, want %v: %s", got, c.compressed, text)
			}
			read, err := termination.ParseMessage(zap.NewNop().Sugar(), string(text))
			if diff := cmp.Diff(entries(c.value), read); err != nil || diff != "" {
				t.Errorf("Tekton reads it differently: %v (-want +got):\n%s", err, diff)
			}
		})
	}
	if text, err := room.Encode(nil, false); err != nil || string(text) != "[]" {
		t.Errorf("no entries: got %s, %v", text, err)
	}
}

func TestLimit(t *testing.T) {
	for name, c := range map[string]struct {
		fill  room.Fill
		size  int
		emits bool
		want  int
	}{
		"results go first":          {room.Fill{Share: 1000, Room: 700}, 500, true, 700},
		"nothing to lose":           {room.Fill{Share: 1000, Room: 700}, 500, false, 1000},
		"required":                  {room.Fill{Share: 1000, Room: 700, Required: true}, 500, true, 1000},
		"lost with one more anyway": {room.Fill{Share: 1000, Room: 700}, 800, true, 1000},
	} {
		if got := c.fill.Limit(entries(strings.Repeat("y", c.size)), c.emits); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestOf(t *testing.T) {
	got := room.Of(step.Config{Share: 4096, MayCompress: true, Required: true})
	if diff := cmp.Diff(room.Fill{Share: 4096, Room: 4096, MayCompress: true, Required: true}, got); diff != "" {
		t.Errorf("without a room the share counts (-want +got):\n%s", diff)
	}
}
