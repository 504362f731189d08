import com.pixelmed.validate.DicomSRValidator;

/** Compiling the template rules takes seconds, judging a report a fraction of one: so one validator judges them all. */
class JudgeReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("== " + file);
            try {
                System.out.println(validator.validate(file));
            } catch (Exception unreadable) {
                System.out.println("Error: " + unreadable);
            }
        }
    }
}
