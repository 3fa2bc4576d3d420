package rules;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a function sees and can do, as methods that handlers name. */
public class Functions {
    private int invocations;

    public Map<String, Object> look(Map<String, String> event, Context context) throws Exception {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("invocations", ++invocations);
        found.put("requestId", context.getAwsRequestId());
        found.put("arn", context.getInvokedFunctionArn());
        found.put("remainingMs", context.getRemainingTimeInMillis());
        found.put("memoryMb", context.getMemoryLimitInMB());
        found.put("logGroup", context.getLogGroupName());
        found.put("heapMib", Runtime.getRuntime().maxMemory() >> 20);
        found.put("classPath", System.getProperty("java.class.path"));
        found.put("directory", System.getProperty("user.dir"));
        found.put("user", System.getProperty("user.name"));
        found.put("version", System.getProperty("java.version"));
        found.put("zone", java.util.TimeZone.getDefault().getID());
        found.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
        found.put("options", ManagementFactory.getRuntimeMXBean().getInputArguments());
        List<String> collectors = new ArrayList<>();
        ManagementFactory.getGarbageCollectorMXBeans().forEach(each -> collectors.add(each.getName()));
        found.put("collectors", collectors);
        found.put("variables", new LinkedHashMap<>(System.getenv()));
        return found;
    }

    public String print(Map<String, String> event, Context context) {
        System.out.println("printed: " + event.get("text"));
        System.err.println("on the other: " + event.get("text"));
        context.getLogger().log("logged: " + event.get("text") + "\nits second line");
        context.getLogger().log("warned: " + event.get("text"), LogLevel.WARN);
        context.getLogger().log("debugged: " + event.get("text"), LogLevel.DEBUG);
        return event.get("text");
    }

    public Map<String, Object> meet(int port, Context context) throws Exception {
        try (java.net.Socket there = new java.net.Socket("127.0.0.1", port)) {
            there.getInputStream().read();
        }
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("requestId", context.getAwsRequestId());
        found.put("environment", context.getLogStreamName());
        found.put("thread", Thread.currentThread().getId());
        found.put("process", ManagementFactory.getRuntimeMXBean().getName());
        return found;
    }

    public String use(Map<String, String> event, Context context) throws Exception {
        Class<?> text = Class.forName("library.Text");
        return (String) text.getMethod("of", Map.class).invoke(null, event);
    }

    public Object fail(String what) throws Exception {
        switch (what) {
            case "with a cause":
                throw new IllegalStateException("outer", new IllegalArgumentException("inner"));
            case "checked":
                throw new java.io.IOException("a disk");
            case "error":
                throw new AssertionError("not so");
            case "exit":
                System.exit(3);
                return null;
            case "memory":
                List<byte[]> taken = new ArrayList<>();
                while (true) {
                    taken.add(new byte[1 << 20]);
                }
            case "sleep":
                Thread.sleep(60_000);
                return null;
            default:
                return what;
        }
    }
}
