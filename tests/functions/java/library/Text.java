package library;

import java.util.Map;
import java.util.stream.Collectors;

/** Objects of texts as JSON. */
public final class Text {
    private Text() {}

    public static String of(Map<String, String> object) {
        return object.entrySet().stream()
                .map(each -> "\"" + each.getKey() + "\":\"" + each.getValue() + "\"")
                .collect(Collectors.joining(",", "{", "}"));
    }
}
