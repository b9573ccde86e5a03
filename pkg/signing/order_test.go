// SPDX-License-Identifier: Apache-2.0

package signing

import "testing"

func TestAssurancesAreOrdered(t *testing.T) {
	all := Assurances()
	for i, a := range all {
		for k, minimum := range all {
			if got, want := a.AtLeast(minimum), i <= k; got != want {
				t.Errorf("%s at least %s: %v, want %v", a, minimum, got, want)
			}
		}
		if Assurance("").AtLeast(a) || Assurance("x").AtLeast(a) {
			t.Errorf("an unknown assurance is at least %s", a)
		}
		if a.AtLeast("") || a.AtLeast("x") {
			t.Errorf("%s is at least an unknown assurance", a)
		}
		if got, err := ParseAssurance(string(a)); err != nil || got != a {
			t.Errorf("ParseAssurance(%q) = %q, %v", a, got, err)
		}
	}
	if AssuranceLegacy.AtLeast(AssuranceAudienceOnly) || !AssurancePayloadBound.AtLeast(AssuranceKeyBound) {
		t.Error("payload-bound is the strongest assurance, legacy the weakest")
	}
	if _, err := ParseAssurance("none"); err == nil {
		t.Error("an unknown assurance is parsed")
	}
}

func TestFormatsAreOrdered(t *testing.T) {
	for _, c := range []struct {
		format, minimum Format
		want            bool
	}{
		{FormatV1, FormatV1, true}, {FormatV2, FormatV1, true}, {FormatV2, FormatV2, true},
		{FormatV1, FormatV2, false}, {"", FormatV1, false}, {"v3", FormatV1, false}, {"", FormatV2, false},
		{FormatV2, "", false}, {FormatV1, "v3", false}, {"v3", "v3", false},
	} {
		if got := c.format.AtLeast(c.minimum); got != c.want {
			t.Errorf("%q at least %q: %v, want %v", c.format, c.minimum, got, c.want)
		}
	}
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("ParseFormat(%q) = %q, %v", f, got, err)
		}
	}
	if _, err := ParseFormat("V2"); err == nil {
		t.Error("an unknown format is parsed")
	}
}

func TestBindingsHaveSchemes(t *testing.T) {
	for b, want := range map[Binding]Scheme{
		BindingPayload: SchemeOIDCPayloadBound, BindingKey: SchemeOIDCKeyBound, BindingAudience: SchemeOIDCAudienceOnly,
		"": 0,
	} {
		if got := b.Scheme(); got != want {
			t.Errorf("binding %q has scheme %d, want %d", b, got, want)
		}
	}
	if _, err := ParseBinding("none"); err == nil {
		t.Error("an unknown binding is parsed")
	}
}
