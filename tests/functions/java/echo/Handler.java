package echo;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.Map;

/** Answers the event, or fails as it says. */
public class Handler implements RequestHandler<Object, Object> {
    @Override
    public Object handleRequest(Object event, Context context) {
        if (event instanceof Map && ((Map<?, ?>) event).containsKey("error_msg")) {
            throw new RuntimeException("Error: " + ((Map<?, ?>) event).get("error_msg"));
        }
        return event;
    }
}
