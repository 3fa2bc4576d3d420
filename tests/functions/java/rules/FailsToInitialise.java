package rules;

/** A class that cannot be initialised. */
public class FailsToInitialise {
    private static final int NUMBER = Integer.parseInt("not a number");

    public int handle(Object event) {
        return NUMBER;
    }
}
