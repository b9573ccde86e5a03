// SPDX-License-Identifier: Apache-2.0

package signing

import (
	"regexp"
	"strings"
	"testing"
)

// An audience is read as it was written, and matches the pattern of its kind only.
func TestAudience(t *testing.T) {
	digest := Digest([]byte("a digest of exactly 32 characters"[:32]))
	kinds := []AudienceKind{AudiencePayload, AudienceKey, AudienceRecord}
	for _, kind := range kinds {
		audience := Audience("our-results", kind, digest)
		got, sum, err := ParseAudience("our-results", audience)
		if err != nil || got != kind || sum != digest {
			t.Errorf("%s: got kind %q, digest %v, error %v", audience, got, sum, err)
		}
		for _, other := range kinds {
			pattern := regexp.MustCompile("^our-results" + AudiencePattern(other) + "$")
			if matches := pattern.MatchString(audience); matches != (other == kind) {
				t.Errorf("%s matches %s: %v", audience, pattern, matches)
			}
		}
		if both := regexp.MustCompile("^our-results" + AudiencePattern(kinds...) + "$"); !both.MatchString(audience) {
			t.Errorf("%s does not match %s", audience, both)
		}
	}
}

func TestParseAudienceRefuses(t *testing.T) {
	digest := strings.Repeat("A", 43)
	for name, audience := range map[string]string{
		"the prefix alone":      "our-results",
		"a credential":          "https://kubernetes.default.svc",
		"another prefix":        "results:p:" + digest,
		"an unknown kind":       "our-results:q:" + digest,
		"no kind":               "our-results:" + digest,
		"a short digest":        "our-results:p:" + digest[1:],
		"a long digest":         "our-results:p:A" + digest,
		"a padded digest":       "our-results:p:" + digest + "=",
		"another alphabet":      "our-results:p:+" + digest[1:],
		"bits after the digest": "our-results:p:" + digest[1:] + "B",
		"a second digest":       "our-results:p:" + digest + ":p:" + digest,
	} {
		if kind, _, err := ParseAudience("our-results", audience); err == nil {
			t.Errorf("%s: got kind %q, expected an error", name, kind)
		}
	}
}
