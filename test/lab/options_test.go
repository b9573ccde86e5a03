// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChooseFolders(t *testing.T) {
	tests := map[string]struct {
		name    string
		env     map[string]string
		want    folders
		wantErr string
	}{
		"home": {
			name: "default", env: map[string]string{"HOME": "/root"},
			want: folders{cache: "/root/.cache/tekton-sign-lab", state: "/root/.local/state/tekton-sign-lab/default"},
		},
		"xdg": {
			name: "a", env: map[string]string{"HOME": "/root", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"},
			want: folders{cache: "/c/tekton-sign-lab", state: "/s/tekton-sign-lab/a"},
		},
		"own variables win": {
			name: "a", env: map[string]string{"XDG_CACHE_HOME": "/x", CacheVariable: "/c", StateVariable: "/s"},
			want: folders{cache: "/c/tekton-sign-lab", state: "/s/tekton-sign-lab/a"},
		},
		"no home":       {name: "a", wantErr: "HOME is not set"},
		"slash in name": {name: "a/b", env: map[string]string{"HOME": "/root"}, wantErr: `lab name "a/b"`},
		"dots as name":  {name: "..", env: map[string]string{"HOME": "/root"}, wantErr: `lab name ".."`},
		"name too long": {name: strings.Repeat("a", 33), env: map[string]string{"HOME": "/root"}, wantErr: "up to 32"},
		"state under run": {name: "a", env: map[string]string{"HOME": "/root", StateVariable: "/run"},
			wantErr: "outside /run"},
		"cache in var lib": {name: "a", env: map[string]string{"HOME": "/root", CacheVariable: "/var/lib/x"},
			wantErr: CacheVariable},
		"var libs is no lib": {name: "a", env: map[string]string{CacheVariable: "/var/libs", StateVariable: "/s"},
			want: folders{cache: "/var/libs/tekton-sign-lab", state: "/s/tekton-sign-lab/a"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := chooseFolders(test.name, func(key string) string { return test.env[key] })
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("error: expected %q in it, got %v", test.wantErr, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(folders{})); diff != "" {
				t.Errorf("folders (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChoosePair(t *testing.T) {
	first, err := choosePair("default", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := choosePair("default", nil)
	if first != again {
		t.Errorf("same name: expected %v, got %v", first, again)
	}
	if first.host.Masked() != first.node.Masked() || first.host == first.node || first.host.Bits() != 30 {
		t.Errorf("expected two addresses of one /30, got %v and %v", first.host, first.node)
	}
	if !subnetPool.Contains(first.host.Addr()) || !subnetPool.Contains(first.node.Addr()) {
		t.Errorf("expected addresses in %v, got %v and %v", subnetPool, first.host, first.node)
	}
	other, _ := choosePair("other", nil)
	if other.host.Overlaps(first.host) {
		t.Errorf("two names: expected different subnets, got %v twice", first.host.Masked())
	}
	moved, err := choosePair("default", []netip.Prefix{first.host})
	if err != nil {
		t.Fatal(err)
	}
	if moved.host.Overlaps(first.host) {
		t.Errorf("taken subnet: expected another than %v, got %v", first.host.Masked(), moved.host)
	}
	if _, err := choosePair("default", []netip.Prefix{subnetPool}); err == nil {
		t.Error("everything taken: expected an error, got none")
	}
}

func TestHostInterface(t *testing.T) {
	long := hostInterface(strings.Repeat("a", 32))
	if len(long) > 15 {
		t.Errorf("interface name %q: expected at most 15 bytes, got %d", long, len(long))
	}
	if long == hostInterface("a") {
		t.Errorf("two labs: expected two interface names, got %q twice", long)
	}
}
