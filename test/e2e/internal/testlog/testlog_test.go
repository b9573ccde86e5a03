// SPDX-License-Identifier: Apache-2.0

package testlog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	const text = `{"Action":"start"}
{"Action":"output","Output":"of no test\n"}
{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"outer\n"}
{"Action":"run","Test":"TestA/one"}
{"Action":"run","Test":"TestA/two"}
{"Action":"output","Test":"TestA/one","Output":"inner\n"}
{"Action":"pass","Test":"TestA/one"}
{"Action":"fail","Test":"TestA/two"}
{"Action":"fail","Test":"TestA"}
{"Action":"run","Test":"TestAB"}
{"Action":"run","Test":"TestAB/skipped"}
{"Action":"skip","Test":"TestAB/skipped"}
{"Action":"pass","Test":"TestAB"}
{"Action":"run","Test":"TestItself"}
{"Action":"run","Test":"TestItself/good"}
{"Action":"pass","Test":"TestItself/good"}
{"Action":"fail","Test":"TestItself"}
{"Action":"run","Test":"TestCut"}
{"Action":"run","Test":"TestCut/off"}
{"Action":"fail"}`
	want := []Leaf{
		{Name: "TestA/one", Result: Pass, Output: "inner\n", Around: "outer\ninner\n"},
		{Name: "TestA/two", Result: Fail, Around: "outer\n"},
		{Name: "TestAB/skipped", Result: Skip},
		{Name: "TestItself", Result: Fail},
		{Name: "TestItself/good", Result: Pass},
		{Name: "TestCut/off"},
	}
	got, err := Read(strings.NewReader(text))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, want (-), got (+):\n%s", err, diff)
	}
	if _, err := Read(strings.NewReader("{}\nFAIL\n")); err == nil || !strings.Contains(err.Error(), "FAIL") {
		t.Errorf("a line that is no event gives the error %v", err)
	}
}
