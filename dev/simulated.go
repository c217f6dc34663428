package main

func startSimulator(dir string, env *environment, started *unwinding) (string, error) {
	return "", nil
}
