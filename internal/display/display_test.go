// SPDX-License-Identifier: Apache-2.0

package display

import (
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, 1+1=2":    "plain text, 1+1=2",
		"größe 尺寸 мера":        "größe 尺寸 мера",
		"✓ €":                  "✓ €",
		"a\nb\r\tc":            `a\nb\r\tc`,
		"\x1b[31mred\x1b[0m":   `\x1b[31mred\x1b[0m`,
		"\x00\x7f":             `\x00\x7f`,
		"\u009b31m":            `\u009b31m`,
		"\u202eevil\u202c":     `\u202eevil\u202c`,
		"\u2066x\u2069":        `\u2066x\u2069`,
		"zero\u200bwidth":      `zero\u200bwidth`,
		"join\u200der":         `join\u200der`,
		"\ufeffbom":            `\ufeffbom`,
		"line\u2028para\u2029": `line\u2028para\u2029`,
		"nbsp\u00a0":           `nbsp\u00a0`,
		"soft\u00adhyphen":     `soft\u00adhyphen`,
		"tag\U000e0041":        `tag\U000e0041`,
		"vs\ufe0f":             `vs\ufe0f`,
		"filler\u3164\u115f":   `filler\u3164\u115f`,
		"braille\u2800":        `braille\u2800`,
		"private\ue000":        `private\ue000`,
		"bad\xff\xfe":          `bad\xff\xfe`,
		"sur\xed\xa0\x80":      `sur\xed\xa0\x80`,
		"e\u0301":              "e\u0301",
		"z\u0300\u0301\u0302":  "z\u0300\u0301" + `\u0302`,
		"replaced\ufffd":       "replaced\ufffd",
	} {
		if got := Safe(in); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	if got := Short("ééé", 3); got != "ééé" {
		t.Errorf("what fits is cut: %q", got)
	}
	const want = "éé… (6 bytes, sha256:355b7226e20cb564774ef994)" // of the whole value, cut
	if got := Short("ééé", 2); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if a, b := Short("aab", 1), Short("aac", 1); a == b {
		t.Errorf("two values look the same: %q", a)
	}
}

func TestName(t *testing.T) {
	if got := Name("IMAGE_DIGEST"); got != "IMAGE_DIGEST" {
		t.Errorf("got %q", got)
	}
	if got := Name("IMАGE"); got != "IMАGE (not ASCII)" { // the third letter is Cyrillic
		t.Errorf("got %q", got)
	}
}

func FuzzSafe(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "\u202e", "e\u0301\u0301\u0301", "\xff", "\U000e0001"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, text string, width int) {
		for _, got := range []string{Safe(text), Short(text, min(max(width, 0), 1000)), Name(text)} {
			if !utf8.ValidString(got) {
				t.Errorf("%q is no UTF-8", got)
			}
			marks := 0
			for _, r := range got {
				if marks++; !unicode.Is(unicode.M, r) {
					marks = 0
				}
				if !unicode.IsPrint(r) || unicode.Is(unicode.Cf, r) || marks > maxMarks {
					t.Fatalf("%q passes %U", got, r)
				}
			}
		}
		if Safe(Safe(text)) != Safe(text) {
			t.Errorf("%q is not shown as it is written", Safe(text))
		}
	})
}
