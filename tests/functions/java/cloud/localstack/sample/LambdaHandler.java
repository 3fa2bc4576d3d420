package cloud.localstack.sample;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.List;
import java.util.Map;

/** Logs the message of each record of a notification. */
public class LambdaHandler implements RequestHandler<Map<String, List<Map<String, Object>>>, String> {
    @Override
    public String handleRequest(Map<String, List<Map<String, Object>>> event, Context context) {
        for (Map<String, Object> each : event.get("Records")) {
            context.getLogger().log("notified: " + ((Map<?, ?>) each.get("Sns")).get("Message"));
        }
        return "done";
    }
}
