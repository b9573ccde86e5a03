// SPDX-License-Identifier: Apache-2.0

package signing

import "testing"

func TestWithoutEvidence(t *testing.T) {
	for message, want := range map[string]string{
		`[{"key":"a","value":"1"}]`:                                    `unchanged`,
		`[{"key":"SIGNING_TOKEN","value":"1"},{"key":"a"},"text"]`:     `["text",{"key":"RESULT_MANIFEST","value":"none:too-long","type":1},{"key":"a"}]`,
		`[{"key":"SIGNING_TOKEN"}]`:                                    `[{"key":"RESULT_MANIFEST","value":"none:too-long","type":1}]`,
		`[{"key":"A"},{"key":"SIGNING_TOKEN"},{"key":"a"}]`:            `[{"key":"A"},{"key":"RESULT_MANIFEST","value":"none:too-long","type":1},{"key":"a"}]`,
		`[{"key":"RESULT_MANIFEST","value":"none:too-long","type":1}]`: `unchanged`,
		`no JSON`:           `unchanged`,
		`tknz:q1YqS8wpTQUA`: `unchanged`,
		``:                  `unchanged`,
	} {
		got, changed := WithoutEvidence(message)
		if changed && got != want || changed == (want == "unchanged") {
			t.Errorf("%s: got %s, changed %v", message, got, changed)
		}
	}
}
