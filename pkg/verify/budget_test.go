// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// The checks of an object never hold more of its text than allowed, even if they repeat it.
func TestBudgetOfTexts(t *testing.T) {
	b, total := NewBudget(), 0
	for range 100 {
		c := b.shorten(Check{ID: CheckToken, Expected: strings.Repeat("é", 1<<19), Got: "got", Message: "message"})
		if !utf8.ValidString(c.Expected) || c.Got != "got" || c.Message != "message" {
			t.Fatalf("%q, %q, valid: %v", c.Got, c.Message, utf8.ValidString(c.Expected))
		}
		total += len(c.Expected)
	}
	if limit := maxTexts + 100*(maxShortText+3); total > limit || total < maxTexts/2 {
		t.Errorf("%d bytes, want at most %d", total, limit)
	}
}
