// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// hostile is what a TaskRun's author may have put wherever there is room for text.
const hostile = "a\nforged line\r\x1b[31mred\u009b2J\u202egnp\u200b\x00\xff{\"severity\":\"INFO\"}"

type named string

func (n named) String() string { return string(n) }

// TestLogIsSafe puts hostile text wherever a logger takes any: in messages, and in values of every kind.
func TestLogIsSafe(t *testing.T) {
	var out bytes.Buffer
	counted := map[string]int{}
	log := newLogger(&out, zapcore.InfoLevel, func(level string) { counted[level]++ })
	log.Infow("message "+hostile, "value", hostile, "error", errors.New(hostile), "stringer", named(hostile),
		"list", []string{hostile}, "map", map[string]any{hostile: hostile}, "bytes", []byte(hostile), "pointer",
		&struct{ A string }{hostile},
		"nested", fmt.Errorf("outer: %w", errors.New(hostile)), hostile, "value of a hostile key",
		zap.ByteString("raw", []byte(hostile)),
		"strings", zap.Strings("x", []string{hostile}), "number", 7, "took", time.Second)
	log.With("name", hostile).Errorf("formatted %s %v", hostile, errors.New(hostile))
	log.Named(hostile).Warn("from a logger with a name")
	log.Debugw(hostile)

	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("expected three lines, got %d:\n%s", len(lines), out.String())
	}
	for _, line := range lines {
		for _, r := range line {
			if !unicode.IsPrint(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
				t.Errorf("the character %U is in %q", r, line)
			}
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	if !strings.Contains(lines[0], `"number":7,"took":1`) {
		t.Errorf("numbers are not kept: %s", lines[0])
	}
	if diff := cmp.Diff(map[string]int{"info": 1, "error": 1, "warn": 1}, counted); diff != "" {
		t.Errorf("counted lines (-want +got):\n%s", diff)
	}
}

// TestLogIsShort bounds what one value may take.
func TestLogIsShort(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("x", 1<<20)
	newLogger(&out, zapcore.InfoLevel, func(string) {}).Infow(long, "value", long)
	if out.Len() > 3*maxLogged {
		t.Errorf("one line takes %d bytes", out.Len())
	}
}
