// SPDX-License-Identifier: Apache-2.0

package signing

import "testing"

func TestWithoutEvidence(t *testing.T) {
	const reason = `{"key":"RESULT_MANIFEST","value":"none:too-long","type":1}`
	for message, want := range map[string]string{
		`[{"key":"SIGNING_TOKEN","value":"1"},{"key":"a"},"text"]`: `["text",` + reason + `,{"key":"a"}]`,
		`[{"key":"SIGNING_TOKEN"}]`:                                `[` + reason + `]`,
		`[{"key":"A"},{"key":"SIGNING_TOKEN"},{"key":"a"}]`:        `[{"key":"A"},` + reason + `,{"key":"a"}]`,
	} {
		if got, changed := WithoutEvidence(message); got != want || !changed {
			t.Errorf("%s: got %s, changed %v", message, got, changed)
		}
	}
	for _, message := range []string{`[{"key":"a","value":"1"}]`, `[` + reason + `]`, `no JSON`, `tknz:q1YqS8wpTQUA`, ``} {
		if got, changed := WithoutEvidence(message); changed {
			t.Errorf("%s: got %s", message, got)
		}
	}
}
