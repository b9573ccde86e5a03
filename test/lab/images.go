// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/image"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/node"
)

// Image says what an image made of local files holds.
type Image = image.Spec

// BusyboxImage is a step image that every lab has, with the usual commands and a bash. It is also known as
// docker.io/library/busybox:1.
const BusyboxImage = "docker.io/library/busybox:1.36"

// nonroot is the user that Tekton's released images run as.
const nonroot = "65532:65532"

const passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
const group = "root:x:0:\nnonroot:x:65532:\n"

// archive is an image on disk, ready for import.
type archive struct {
	references []string
	spec       Image
}

func pauseArchive(binary string) archive {
	return archive{[]string{node.PauseImage},
		Image{Files: map[string]string{"/pause": binary}, Entrypoint: []string{"/pause"}, User: nonroot}}
}

func tektonImage(command, version string) string {
	return "localhost/tekton/" + command + ":" + version
}

func tektonArchive(command, version, binary string) archive {
	return commandArchive(tektonImage(command, version), command, binary)
}

// commandArchive lays a command out as Tekton's release tool ko does.
func commandArchive(reference, command, binary string) archive {
	inside := "/ko-app/" + command
	return archive{[]string{reference}, Image{
		Files:      map[string]string{inside: binary},
		Texts:      map[string]string{"/etc/passwd": passwd, "/etc/group": group},
		Folders:    []string{"/tmp"},
		Entrypoint: []string{inside},
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/ko-app"},
		User:       nonroot,
	}}
}

// busyboxArchive makes an image of a static bash, and a static busybox with a link for each of its applets.
func busyboxArchive(ctx context.Context, binary, bash string) (archive, error) {
	applets, err := exec.CommandContext(ctx, binary, "--list").Output()
	if err != nil {
		return archive{}, fmt.Errorf("list busybox's applets: %w", err)
	}
	links := map[string]string{"/usr/bin/env": "/bin/busybox"}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" && applet != "bash" {
			links["/bin/"+applet] = "/bin/busybox"
		}
	}
	return archive{[]string{BusyboxImage, "docker.io/library/busybox:1"}, Image{
		Files:   map[string]string{"/bin/busybox": binary, "/bin/bash": bash},
		Texts:   map[string]string{"/etc/passwd": passwd, "/etc/group": group},
		Links:   links,
		Folders: []string{"/tmp"},
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}}, nil
}

// pack writes the archive into the cache, unless it is there, and returns its path.
func (a archive) pack(cache string) (string, error) {
	key, err := a.key()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "images", key+".tar")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	built, err := image.Build(a.spec)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", err
	}
	return path, writeArchive(path, built, a.references)
}

// key identifies the content: what the image says, and the bytes of its files.
func (a archive) key() (string, error) {
	description, err := json.Marshal(struct {
		References []string
		Spec       Image
	}{a.references, a.spec})
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	hash.Write(description)
	for _, target := range slices.Sorted(maps.Keys(a.spec.Files)) {
		data, err := os.ReadFile(a.spec.Files[target])
		if err != nil {
			return "", fmt.Errorf("read what goes to %s: %w", target, err)
		}
		sum := sha256.Sum256(data)
		hash.Write(sum[:])
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func writeArchive(path string, built v1.Image, references []string) error {
	var names []string
	for _, reference := range references {
		more, err := image.Names(reference, built)
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	temporary, err := os.CreateTemp(filepath.Dir(path), ".image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	if err := errors.Join(image.WriteArchive(temporary, built, names), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
