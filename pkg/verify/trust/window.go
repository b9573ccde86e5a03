// SPDX-License-Identifier: Apache-2.0

package trust

import "fmt"

// window is what is known about the time in which a key was in use.
type window struct {
	notBefore, notAfter, lastSeen Timestamp
}

func (k IssuerKey) window() window { return window{k.NotBefore, k.NotAfter, k.LastSeen} }

func (k *IssuerKey) setWindow(w window) {
	k.NotBefore, k.NotAfter, k.LastSeen = w.notBefore, w.notAfter, w.lastSeen
}

func (a X509Authority) window() window { return window{a.NotBefore, a.NotAfter, a.LastSeen} }

func (a *X509Authority) setWindow(w window) {
	a.NotBefore, a.NotAfter, a.LastSeen = w.notBefore, w.notAfter, w.lastSeen
}

// check refuses a window that contradicts itself.
func (w window) check() error {
	if !w.notAfter.IsZero() && !w.lastSeen.IsZero() {
		return fmt.Errorf("expected notAfter of a retired key or lastSeen of one in use, got both")
	}
	if end := w.end(); !w.notBefore.IsZero() && !end.IsZero() && end.Before(w.notBefore.Time) {
		name := "notAfter"
		if w.notAfter.IsZero() {
			name = "lastSeen"
		}
		return fmt.Errorf("%s %s is before notBefore %s", name, end.Time, w.notBefore.Time)
	}
	return nil
}

// normal fills in the last sighting of a key in use: at the latest, it was seen when its window begins.
func (w window) normal() window {
	if w.notAfter.IsZero() && w.lastSeen.IsZero() {
		w.lastSeen = w.notBefore
	}
	return w
}

// end returns until when the key is known to have been in use; zero if unknown.
func (w window) end() Timestamp {
	if !w.notAfter.IsZero() {
		return w.notAfter
	}
	return w.lastSeen
}

// join merges what two sources know: the earliest known notBefore, and the later end. If one source has the
// key as retired, it is in use only if the other saw it later.
func (w window) join(other window) window {
	w, other = w.normal(), other.normal()
	joined := w
	if other.laterThan(w) {
		joined = other
	}
	joined.notBefore = w.notBefore
	if joined.notBefore.IsZero() || !other.notBefore.IsZero() && other.notBefore.Before(w.notBefore.Time) {
		joined.notBefore = other.notBefore
	}
	return joined
}

// laterThan compares windows by what is known about their end. At the same time, retired is later than in
// use, because a retirement is noticed after the last use.
func (w window) laterThan(other window) bool {
	if order := w.end().Compare(other.end().Time); order != 0 {
		return order > 0
	}
	return !w.notAfter.IsZero() && other.notAfter.IsZero()
}
