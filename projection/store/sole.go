package store

// SetSole says how to find out whether nobody but this process's projector writes a generation's products now.
func (s *Store) SetSole(sole func(generation string) bool) { s.sole.Store(&sole) }

// Sole returns the generation that is read, where nobody but this process's projector writes its products now, so that what this process was told of
// ([Changes]) is all that changed. It asks nobody: not ok, it isn't known.
func (s *Store) Sole() (generation string, ok bool) {
	u, fresh := s.fresh()
	sole := s.sole.Load()
	return u.read.Generation, fresh && sole != nil && (*sole)(u.read.Generation)
}

// TellMissed tells subscribers that changes may have been missed, as before a projector took over from another one.
func (s *Store) TellMissed() { s.Changes.tell(nil) }
